//! One call into the allocator is unsafe, and nothing else.

use super::source::sources;

#[test]
fn only_the_allocators_option_is_set_by_unsafe_code() {
    for source in sources().values() {
        let blocks = source.tokens().iter().filter(|token| token.text == "unsafe").count();
        let allowed = usize::from(source.file.as_os_str() == "main.rs");
        assert!(blocks <= allowed, "{}: {blocks} times unsafe", source.file.display());
    }
}
