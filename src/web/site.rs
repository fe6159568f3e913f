//! What is served: the page's files, and WebSockets.
//!
//! Everything that the page needs is part of the program, and everything that is answered has the headers that keep a
//! browser from loading anything else.

use std::{
    io::Write,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use axum::{
    Router,
    extract::{State, WebSocketUpgrade},
    http::{HeaderName, StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::net::TcpListener;

use super::{
    Options,
    admission::{self, Hosts, Site},
    connection::{self, MAX_MESSAGE_BYTES},
};
use crate::{client::ServerLaunch, model::Failure, process::current_process};

/// The page may load its own files and connect to us, and nothing else; nothing may embed it. Images that an agent
/// sent are part of its message (`data:`).
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

/// The files of the page: path, type, content. `editors/vscode/scripts/build.mjs` makes them.
const FILES: &[(&str, &str, &[u8])] = &[
    ("/page.js", "text/javascript; charset=utf-8", include_bytes!("page/page.js")),
    ("/page.css", "text/css; charset=utf-8", include_bytes!("page/page.css")),
    ("/codicon.ttf", "font/ttf", include_bytes!("page/codicon.ttf")),
    ("/icon.svg", "image/svg+xml", include_bytes!("page/icon.svg")),
    ("/notices.txt", "text/plain; charset=utf-8", include_bytes!("page/notices.txt")),
];

const PAGE: &[u8] = include_bytes!("page/index.html");

pub(super) async fn serve(options: Options, launch: ServerLaunch) -> Result<u8, Failure> {
    let hosts = Hosts::new(options.allow_host)?;
    let cannot_listen = |error| Failure::internal(format!("cannot listen on 127.0.0.1:{}: {error}; choose another --port", options.port));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await.map_err(cannot_listen)?;
    let address = listener.local_addr().map_err(cannot_listen)?;
    let site = Arc::new(Site::new(launch, options.read_only, hosts));
    let ended = current_process::termination_signal();
    print_address(address, &site)?;
    let served = tokio::select! {
        served = async { axum::serve(listener, router(site)).await } => served,
        () = ended => Ok(()),
    };
    served.map_err(|error| Failure::internal(format!("the page's server ended: {error}")))?;
    Ok(0)
}

/// The address goes to stdout alone, for scripts; what a person should know of it goes to stderr.
fn print_address(address: SocketAddr, site: &Site) -> Result<(), Failure> {
    let cannot_print = |error| Failure::internal(format!("cannot print the address: {error}"));
    let mut out = std::io::stdout().lock();
    writeln!(out, "http://{address}/#token={}", site.token.as_str()).and_then(|()| out.flush()).map_err(cannot_print)?;
    let mode = if site.read_only { " to look on" } else { "" };
    // Where stderr is closed, there is nobody to be told.
    writeln!(std::io::stderr(), "Open this address in a browser{mode}. Ctrl-C ends the page; runs go on.").ok();
    Ok(())
}

fn router(site: Arc<Site>) -> Router {
    let page = || file("text/html; charset=utf-8", PAGE);
    let mut router = Router::new().route("/", get(page)).route("/run/{id}", get(page)).route("/socket", get(upgrade));
    for &(path, kind, content) in FILES {
        router = router.route(path, get(move || file(kind, content)));
    }
    let guarded = router.fallback(|| async { (StatusCode::NOT_FOUND, "there is nothing here") });
    let guarded = guarded.layer(middleware::from_fn_with_state(site.clone(), admission::admit));
    guarded.layer(middleware::map_response(async |response: Response| (HEADERS, response))).with_state(site)
}

async fn file(kind: &'static str, content: &'static [u8]) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, kind)], content)
}

/// Makes a request a WebSocket, which has to send the token next.
async fn upgrade(State(site): State<Arc<Site>>, upgrade: WebSocketUpgrade) -> Response {
    let Ok(unknown) = site.unknown_connections.clone().try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many pages connect at this moment").into_response();
    };
    let upgrade = upgrade.max_message_size(MAX_MESSAGE_BYTES).max_frame_size(MAX_MESSAGE_BYTES);
    upgrade.on_upgrade(move |socket| connection::serve(socket, site, unknown))
}
