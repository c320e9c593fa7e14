//! Weir's own HTTP API: the routes, and the OpenAPI document that is made from the very same list.

mod admin;
mod alarms;
mod compare;
mod console;
mod docs;
mod drift;
mod events;
mod explain;
mod explain_types;
mod extract;
mod feedback;
mod feedback_types;
mod form;
mod generate;
mod generate_types;
mod labelling;
mod landing;
mod models;
mod oip;
mod operations;
mod packing;
mod predict;
mod predict_body;
mod predict_input;
mod predict_types;
mod predictions;
mod quality;
mod runs;
mod service;
mod tfs;
mod torchserve;
pub mod training;
mod triton_metrics;

use std::convert::Infallible;

use axum::Router;
use axum::middleware::from_fn;
use axum::routing::get;
use http::{HeaderName, HeaderValue, header};
use tower_http::set_header::SetResponseHeaderLayer;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui::SwaggerUi;

pub use self::service::HttpApi;
use super::dialect::Dialect;
use super::state::ApiState;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Weir",
        description = "Serves models over HTTP and says how well they do. Errors are problem documents (RFC 9457). A server with keys (--keys) asks for one in every operation but those for health: without one that it knows it answers 401, and 403 where the key is for something else.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
    ),
    modifiers(&Keys),
    tags(
        (name = "predict", description = "Ask a model"),
        (name = "models", description = "What is loaded"),
        (name = "monitoring", description = "Say what was right, and see how good the answers were"),
        (name = "training", description = "See training runs; see the setting --admin for who may"),
        (name = "admin", description = "Change what is loaded; see the setting --admin for who may"),
        (name = "operations", description = "Health and metrics")
    )
)]
struct Document;

/// Describes the keys that a server may ask for.
struct Keys;

impl Modify for Keys {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        components.add_security_scheme("bearer", bearer);
        let header = SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("x-api-key")));
        components.add_security_scheme("api_key", header);
        let with = |name: &str| SecurityRequirement::new(name, std::iter::empty::<&str>());
        // One of them, or none where the server has no keys.
        document.security = Some(vec![SecurityRequirement::default(), with("bearer"), with("api_key")]);
    }
}

fn documented() -> OpenApiRouter<ApiState> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(models::list))
        .routes(routes!(runs::list))
        .routes(routes!(runs::show))
        .routes(routes!(runs::report))
        // Packs what stands above.
        .layer(from_fn(packing::pack_if_accepted))
        .routes(routes!(predict::predict_default))
        .routes(routes!(predict::predict_model))
        .routes(routes!(predict::predict_version))
        .routes(routes!(explain::explain_model))
        .routes(routes!(explain::explain_version))
        .routes(routes!(compare::compare))
        .routes(routes!(generate::generate_model))
        .routes(routes!(generate::generate_version))
        .routes(routes!(models::show))
        .routes(routes!(drift::show))
        .routes(routes!(quality::show))
        .routes(routes!(feedback::send))
        .routes(routes!(predictions::show, predictions::erase))
        .routes(routes!(labelling::input))
        .routes(routes!(labelling::choose))
        .routes(routes!(alarms::list))
        .routes(routes!(alarms::acknowledge))
        .routes(routes!(events::listen))
        .routes(routes!(admin::promote))
        .routes(routes!(admin::rollback))
        .routes(routes!(admin::load))
        .routes(routes!(admin::unload))
        .routes(routes!(admin::audit))
        .routes(routes!(operations::livez))
        .routes(routes!(operations::healthz))
        .routes(routes!(operations::readyz))
        .routes(routes!(operations::metrics))
}

/// A header of the pages that a browser shows. Requests for predictions do not pass these layers.
fn page_header(name: HeaderName, value: &'static str) -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::overriding(name, HeaderValue::from_static(value))
}

/// The OpenAPI document, as served at `/openapi.json` and kept in `openapi/openapi.json`.
pub fn openapi() -> utoipa::openapi::OpenApi {
    documented().split_for_parts().1
}

impl HttpApi {
    /// Everything that is served over HTTP, but for TorchServe's management API.
    pub fn new(state: ApiState) -> Self {
        let (routes, document) = documented().split_for_parts();
        let description = torchserve::description(&document);
        let swagger = Router::from(SwaggerUi::new("/docs").url("/openapi.json", document))
            .layer(from_fn(docs::inflate_unless_accepted))
            .layer(page_header(header::CONTENT_SECURITY_POLICY, docs::POLICY))
            .layer(page_header(header::REFERRER_POLICY, "no-referrer"));
        let landing = get(landing::page)
            .layer::<_, Infallible>(from_fn(packing::pack_if_accepted))
            .layer::<_, Infallible>(page_header(header::REFERRER_POLICY, "no-referrer"));
        let routes = match state.settings().console {
            true => routes.route("/console/{file}", get(console::file)),
            false => routes,
        };
        let router = routes
            .route("/", landing.options(|| async move { torchserve::json(description) }))
            .merge(oip::routes())
            .merge(tfs::routes())
            .merge(torchserve::routes())
            .merge(swagger);
        Self::with_routes(router, state, None)
    }

    /// Health and metrics alone, for a listener of their own.
    pub fn operations(state: ApiState) -> Self {
        let routes = OpenApiRouter::new()
            .routes(routes!(operations::livez))
            .routes(routes!(operations::healthz))
            .routes(routes!(operations::readyz))
            .routes(routes!(operations::metrics));
        Self::with_routes(routes.into(), state, None)
    }

    /// TorchServe's management API, for a listener of its own: its paths are also Weir's.
    pub fn torchserve_management(state: ApiState) -> Self {
        Self::with_routes(torchserve::management(), state, Some(Dialect::TorchServe))
    }
}
