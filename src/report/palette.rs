//! The palette: every colour by name, on light paper and on dark.

/// The paper that a colour is seen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Theme {
    /// Dark ink on light paper.
    Light,
    /// Light ink on dark paper.
    Dark,
}

/// The number of shades from the lightest load to the heaviest.
pub const SHADES: u8 = 8;

/// A colour by its role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Color {
    /// The background of a page.
    Page,
    /// The background of a section and of a chart.
    Card,
    /// The background of areas set into a card.
    Well,
    /// Text.
    Ink,
    /// Text of less weight.
    Soft,
    /// Rules and grids.
    Line,
    /// Text on a strong colour.
    Strong,
    /// The first series; right answers.
    Blue,
    /// The second series; wrong answers.
    Orange,
    /// The third series.
    Purple,
    /// Good news.
    Green,
    /// Limits, and bad news.
    Red,
    /// One of [`SHADES`] shades for series that have an order.
    Shade(u8),
}

/// The ends and the middle of the shades.
const SHADES_ON_LIGHT: [[u8; 3]; 3] = [[0x78, 0xbe, 0xe6], [0x1f, 0x6f, 0xb4], [0x6e, 0x1e, 0x5a]];
const SHADES_ON_DARK: [[u8; 3]; 3] = [[0x3d, 0x6e, 0x9e], [0x6d, 0xb3, 0xf2], [0xf5, 0xa8, 0xd8]];

impl Color {
    /// Every colour but the shades.
    const NAMED: [Self; 12] = [
        Self::Page,
        Self::Card,
        Self::Well,
        Self::Ink,
        Self::Soft,
        Self::Line,
        Self::Strong,
        Self::Blue,
        Self::Orange,
        Self::Purple,
        Self::Green,
        Self::Red,
    ];

    /// Returns its red, green and blue parts on this paper.
    pub const fn rgb(self, theme: Theme) -> [u8; 3] {
        let (light, dark) = match self {
            Self::Page => ([0xf4, 0xf5, 0xf7], [0x0e, 0x13, 0x19]),
            Self::Card => ([0xff, 0xff, 0xff], [0x16, 0x1d, 0x25]),
            Self::Well => ([0xf1, 0xf3, 0xf6], [0x1c, 0x24, 0x2d]),
            Self::Ink => ([0x18, 0x21, 0x2b], [0xe7, 0xeb, 0xef]),
            Self::Soft => ([0x5d, 0x68, 0x75], [0x97, 0xa3, 0xb0]),
            Self::Line => ([0xe3, 0xe7, 0xec], [0x28, 0x31, 0x3b]),
            Self::Strong => ([0xff, 0xff, 0xff], [0x0b, 0x11, 0x17]),
            Self::Blue => ([0x0b, 0x69, 0xa8], [0x4f, 0xa6, 0xe3]),
            Self::Orange => ([0xd1, 0x56, 0x0f], [0xf0, 0x88, 0x3e]),
            Self::Purple => ([0x8f, 0x4a, 0x9e], [0xc7, 0x92, 0xd8]),
            Self::Green => ([0x0a, 0x82, 0x65], [0x3f, 0xbf, 0x9b]),
            Self::Red => ([0xc0, 0x2b, 0x3a], [0xf0, 0x8a, 0x80]),
            Self::Shade(shade) => (between(SHADES_ON_LIGHT, shade), between(SHADES_ON_DARK, shade)),
        };
        match theme {
            Theme::Light => light,
            Theme::Dark => dark,
        }
    }

    /// Returns its name, which is a CSS class and, after two dashes, a CSS variable.
    pub(super) fn name(self) -> String {
        match self {
            Self::Page => "page".into(),
            Self::Card => "card".into(),
            Self::Well => "well".into(),
            Self::Ink => "ink".into(),
            Self::Soft => "soft".into(),
            Self::Line => "line".into(),
            Self::Strong => "strong".into(),
            Self::Blue => "blue".into(),
            Self::Orange => "orange".into(),
            Self::Purple => "purple".into(),
            Self::Green => "green".into(),
            Self::Red => "red".into(),
            Self::Shade(shade) => format!("shade-{shade}"),
        }
    }

    /// Returns it as CSS writes it.
    pub(super) fn hex(self, theme: Theme) -> String {
        let [red, green, blue] = self.rgb(theme);
        format!("#{red:02x}{green:02x}{blue:02x}")
    }

    pub(super) fn all() -> impl Iterator<Item = Self> {
        Self::NAMED.into_iter().chain((0..SHADES).map(Self::Shade))
    }
}

/// Returns a shade on the way from the first colour over the second to the third.
const fn between(colors: [[u8; 3]; 3], shade: u8) -> [u8; 3] {
    let last = SHADES as u32 - 1;
    let place = if shade < SHADES { shade as u32 * 2 } else { 2 * last };
    let (from, to, share) =
        if place < last { (colors[0], colors[1], place) } else { (colors[1], colors[2], place - last) };
    [mixed(from[0], to[0], share, last), mixed(from[1], to[1], share, last), mixed(from[2], to[2], share, last)]
}

const fn mixed(from: u8, to: u8, share: u32, of: u32) -> u8 {
    ((from as u32 * (of - share) + to as u32 * share) / of) as u8
}

/// Returns the CSS variables of all colours, for a page.
pub(super) fn variables() -> String {
    let list =
        |theme| Color::all().map(|color| format!("--{}:{};", color.name(), color.hex(theme))).collect::<String>();
    format!(
        ":root{{color-scheme:light dark;{}}}\n@media (prefers-color-scheme: dark){{:root{{{}}}}}\n",
        list(Theme::Light),
        list(Theme::Dark)
    )
}

/// Returns the CSS variables of all colours, for a page whose element of class `light` or `dark` may overrule what the
/// reader's system prefers.
pub fn switchable_variables() -> String {
    let one = |color: Color| {
        let (light, dark) = (color.hex(Theme::Light), color.hex(Theme::Dark));
        format!("--{}:light-dark({light},{dark});", color.name())
    };
    let colors: String = Color::all().map(one).collect();
    format!(":root{{color-scheme:light dark;{colors}}}\n.light{{color-scheme:light}}\n.dark{{color-scheme:dark}}\n")
}

/// Returns one CSS class for each colour, which sets `color`.
pub(super) fn classes() -> String {
    Color::all().map(|color| format!(".{0}{{color:var(--{0})}}\n", color.name())).collect()
}

/// Returns CSS with the colours in place of the variables: few programs that show SVG files know variables.
pub(super) fn resolved(css: &str, theme: Theme) -> String {
    Color::all().fold(css.to_owned(), |css, color| css.replace(&format!("var(--{})", color.name()), &color.hex(theme)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The contrast of two colours as WCAG 2 defines it, 1 to 21.
    fn contrast(a: [u8; 3], b: [u8; 3]) -> f64 {
        let linear = |part: u8| match f64::from(part) / 255.0 {
            low if low <= 0.04045 => low / 12.92,
            high => ((high + 0.055) / 1.055).powf(2.4),
        };
        let light = |[r, g, b]: [u8; 3]| 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
        let (a, b) = (light(a) + 0.05, light(b) + 0.05);
        a.max(b) / a.min(b)
    }

    #[test]
    fn text_and_series_stand_out_on_either_paper() {
        for theme in [Theme::Light, Theme::Dark] {
            let on_card = |color: Color| contrast(color.rgb(theme), Color::Card.rgb(theme));
            for text in [Color::Ink, Color::Soft, Color::Red, Color::Blue, Color::Green] {
                assert!(on_card(text) > 4.5, "{text:?} on {theme:?}: {}", on_card(text));
            }
            for series in [Color::Orange, Color::Purple, Color::Shade(3), Color::Shade(7)] {
                assert!(on_card(series) > 3.0, "{series:?} on {theme:?}: {}", on_card(series));
            }
        }
    }

    #[test]
    fn a_page_can_switch_every_colour() {
        let css = switchable_variables();
        for color in Color::all() {
            let pair = format!("light-dark({},{})", color.hex(Theme::Light), color.hex(Theme::Dark));
            assert!(css.contains(&format!("--{}:{pair};", color.name())), "{color:?}: {css}");
        }
    }

    #[test]
    fn no_variable_is_left_in_a_file_of_its_own() {
        let css = classes();
        assert!(css.contains("var(--shade-7)"));
        for theme in [Theme::Light, Theme::Dark] {
            assert!(!resolved(&css, theme).contains("var("));
        }
        assert_ne!(resolved(&css, Theme::Light), resolved(&css, Theme::Dark));
    }
}
