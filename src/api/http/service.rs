//! The HTTP side of a server as one service: each request is observed, routed and, if it fails, answered in
//! the dialect of its path.
//!
//! It stands around the router and not, as an axum layer would, around each route: a layered route is
//! cloned, boxed and called through one more pointer for every request and layer.

use std::convert::Infallible;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::IntoResponse as _;
use axum::{BoxError, Extension, Router};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use tower::{Service, ServiceExt};

use crate::api::access::{Admitted, Rule};
use crate::api::dialect::Dialect;
use crate::api::error::{self, ApiError};
use crate::api::exchange::{Exchange, MAX_PATH_CHARS, contain};
use crate::api::peer::Link;
use crate::api::state::ApiState;
use crate::ids::printable;

/// Everything that is served over HTTP on one port; cheap to clone.
#[derive(Debug, Clone)]
pub struct HttpApi {
    router: Router,
    state: ApiState,
    /// The dialect of a port that has only one; elsewhere paths decide.
    dialect: Option<Dialect>,
}

/// Marks the response to a path that no route has.
#[derive(Debug, Clone, Copy)]
struct Unrouted;

impl HttpApi {
    pub(super) fn with_routes(router: Router<ApiState>, state: ApiState, dialect: Option<Dialect>) -> Self {
        let router = router.fallback(async || (StatusCode::NOT_FOUND, Extension(Unrouted))).with_state(state.clone());
        Self { router, state, dialect }
    }

    /// Returns true once the server is going away.
    pub(in crate::api) fn is_draining(&self) -> bool {
        self.state.health().is_draining()
    }

    /// Answers one request.
    pub(in crate::api) async fn answer(self, mut request: Request<Body>, link: Option<Link>) -> Response<Body> {
        let Self { router, state, dialect } = self;
        let exchange = Exchange::begin(request.headers(), state.tracer());
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let path = uri.path();
        let client = state.access().client(link.as_ref().map(|link| link.peer), request.headers());
        let admitted = {
            let headers = request.headers();
            let rule = || Rule::http(&method, path, headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD));
            state.access().admit(rule, headers, client, link.as_ref())
        };
        let (mut shown, mut held) = (None, None);
        let routed = match admitted {
            Ok(Admitted { key, slot }) => {
                (shown, held) = (key.clone(), slot);
                request.extensions_mut().insert(exchange.arrival(client, key));
                // The front page asks once more, for what it shows.
                if let Some(link) = link.as_ref().filter(|link| link.principal.is_some()) {
                    request.extensions_mut().insert(link.clone());
                }
                contain(router.oneshot(request)).await
            }
            Err(error) => Some(Ok(ApiError(error).into_response())),
        };
        let mut response = match routed {
            Some(Ok(response)) => response,
            Some(Err(never)) => match never {},
            None => error::internal(),
        };
        // Counted by its route and never by the raw path, which the client chooses.
        let protocol = match dialect {
            Some(dialect) => dialect.as_protocol(),
            None => Dialect::protocol(&method, path, response.extensions().get::<Unrouted>().is_none()),
        };
        if response.status().as_u16() >= 400 {
            let asked = format!("{} {}", printable(method.as_str(), 16), printable(path, MAX_PATH_CHARS));
            response =
                error::finish(response, dialect.unwrap_or_else(|| Dialect::of(&method, path)), &asked, exchange.id());
            if method == Method::HEAD {
                *response.body_mut() = Body::empty();
            }
        }
        exchange.add_id(response.headers_mut());
        exchange.add_span(state.tracer(), response.headers_mut());
        response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let (Some(hsts), true) = (&state.settings().hsts, link.is_some_and(|link| link.is_secured)) {
            response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, hsts.clone());
        }
        let (status, elapsed) = (response.status().as_u16(), exchange.start().elapsed());
        state.metrics().http.record(protocol, status, elapsed);
        exchange.log(state.settings(), elapsed, method.as_str(), path, status, shown.as_deref());
        match held {
            Some(slot) => response.map(|body| Body::new(slot.held_by(body))),
            None => response,
        }
    }
}

impl<B> Service<Request<B>> for HttpApi
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let api = self.clone();
        Box::pin(async move { Ok(api.answer(request.map(Body::new), None).await) })
    }
}
