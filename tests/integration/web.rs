//! `loomd web`: who is let in, what passes, and that a page costs nothing that grows.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};
use tungstenite::{
    Error, Message, WebSocket,
    client::IntoClientRequest,
    protocol::{WebSocketConfig, frame::coding::CloseCode},
};

use crate::{
    harness::{Home, Process, Server, WAIT_TIMEOUT, descendants, interrupt, isolated, kill, sh, until},
    slow_clients::peak,
};

/// A running `loomd web`.
struct Web {
    process: Child,
    port: u16,
    token: String,
}

/// A page that has sent the token.
struct Page {
    socket: WebSocket<TcpStream>,
    read_only: bool,
    next_id: u64,
    notifications: Vec<Value>,
}

impl Web {
    fn start(home: &Home, arguments: &[&str]) -> Self {
        let mut command = isolated(Command::new(env!("CARGO_BIN_EXE_loomd")), home);
        command.arg("--data-dir").arg(home.data()).arg("web").args(arguments);
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
        let mut address = String::new();
        BufReader::new(process.stdout.take().expect("a pipe")).read_line(&mut address).expect("an address");
        let rest = address.trim().strip_prefix("http://127.0.0.1:").expect("a loopback address");
        let (port, token) = rest.split_once("/#token=").expect("a token in the fragment");
        Self { process, port: port.parse().expect("a port"), token: token.to_owned() }
    }

    fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn stream(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("a connection");
        stream.set_read_timeout(Some(WAIT_TIMEOUT)).expect("a deadline");
        stream
    }

    /// Sends a request of these lines, and returns the head and the body of the response.
    fn http(&self, lines: &[&str]) -> (String, String) {
        let mut stream = self.stream();
        let request = format!("{}\r\nConnection: close\r\n\r\n", lines.join("\r\n"));
        stream.write_all(request.as_bytes()).expect("a request");
        let mut response = Vec::new();
        stream.read_to_end(&mut response).expect("a response");
        let response = String::from_utf8_lossy(&response).into_owned();
        let (head, body) = response.split_once("\r\n\r\n").expect("a head");
        (head.to_owned(), body.to_owned())
    }

    /// The status of the response to a request of these lines.
    fn status(&self, lines: &[&str]) -> u16 {
        self.http(lines).0.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status")
    }

    /// A WebSocket from a page of `origin`, or the status of the refusal.
    fn socket_from(&self, host: &str, origin: Option<&str>) -> Result<WebSocket<TcpStream>, u16> {
        let mut request = format!("ws://{}/socket", self.host()).into_client_request().expect("a request");
        request.headers_mut().insert("Host", host.parse().expect("a header"));
        if let Some(origin) = origin {
            request.headers_mut().insert("Origin", origin.parse().expect("a header"));
        }
        let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        match tungstenite::client::client_with_config(request, self.stream(), Some(config)) {
            Ok((socket, _)) => Ok(socket),
            Err(tungstenite::HandshakeError::Failure(Error::Http(response))) => Err(response.status().as_u16()),
            Err(error) => panic!("no answer to the handshake: {error}"),
        }
    }

    /// A WebSocket from the page itself, which has not sent the token.
    fn socket(&self) -> WebSocket<TcpStream> {
        self.socket_from(&self.host(), Some(&format!("http://{}", self.host()))).expect("a socket")
    }

    /// A page that has sent the token and has initialized its connection.
    fn page(&self) -> Page {
        let mut socket = self.socket();
        socket.send(Message::text(self.token.clone())).expect("the token");
        let hello: Value = serde_json::from_str(&text(&mut socket).expect("an answer")).expect("JSON");
        let mut page = Page { socket, read_only: hello["readOnly"].as_bool().expect("a boolean"), next_id: 1, notifications: Vec::new() };
        page.call("initialize", json!({ "protocolVersion": 1, "clientInfo": { "name": "test" } }));
        page.send(&json!({ "jsonrpc": "2.0", "method": "initialized", "params": {} }));
        page
    }

    /// The servers of its pages.
    fn servers(&self) -> Vec<Process> {
        descendants(self.process.id()).into_iter().filter(|process| process.command.contains("serve --stdio")).collect()
    }

    fn end(mut self) {
        interrupt(self.process.id());
        assert_eq!(self.process.wait().expect("it ends").code(), Some(0));
    }
}

impl Page {
    fn send(&mut self, message: &Value) {
        self.socket.send(Message::text(message.to_string())).expect("a message");
    }

    /// The next message that is an answer. Notifications are kept.
    fn answer(&mut self) -> Value {
        loop {
            let message: Value = serde_json::from_str(&text(&mut self.socket).expect("a message")).expect("JSON");
            if message.get("method").is_none() {
                return message;
            }
            self.notifications.push(message);
        }
    }

    fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.next_id;
        self.next_id += 1;
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        let answer = self.answer();
        assert_eq!(answer["id"], id, "{answer}");
        answer
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        let answer = self.request(method, params);
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].clone()
    }

    /// What a run wrote to stdout, up to its final state. Each entry must follow the one before it.
    fn stdout_to_end(&mut self, run: &str) -> usize {
        let (mut bytes, mut last) = (0, 0);
        loop {
            let message = match self.notifications.is_empty() {
                true => serde_json::from_str(&text(&mut self.socket).expect("a message")).expect("JSON"),
                false => self.notifications.remove(0),
            };
            let params = &message["params"];
            if params["runId"] != run || message["method"] == "run/changed" {
                continue;
            }
            let seq = params["seq"].as_u64().expect("a number");
            assert!(seq == last + 1 || (seq == last && params["offset"].as_u64() == Some(bytes as u64)), "{seq} after {last}");
            last = seq;
            if message["method"] == "run/output" {
                bytes += params["text"].as_str().expect("a text").len();
            }
            if params.get("state").is_some_and(|state| state == "succeeded") {
                return bytes;
            }
        }
    }
}

/// The next text of a socket, or the code with which it was closed.
fn text(socket: &mut WebSocket<TcpStream>) -> Result<String, Option<CloseCode>> {
    loop {
        match socket.read() {
            Ok(Message::Text(text)) => return Ok(text.to_string()),
            Ok(Message::Close(frame)) => return Err(frame.map(|frame| frame.code)),
            Ok(_) => {}
            Err(_) => return Err(None),
        }
    }
}

/// What the page is told when the token is wrong.
const WRONG_TOKEN: CloseCode = CloseCode::Library(4001);

#[test]
fn the_page_may_load_nothing_from_elsewhere_and_nothing_may_embed_it() {
    let home = Home::new();
    let web = Web::start(&home, &[]);
    let host = format!("Host: {}", web.host());
    for path in ["/", "/run/01890a5d-ac96-774b-bcce-b302099a8057", "/page.js", "/page.css", "/nothing"] {
        let (head, body) = web.http(&[&format!("GET {path} HTTP/1.1"), &host]);
        let head = head.to_lowercase();
        assert!(head.starts_with(if path == "/nothing" { "http/1.1 404" } else { "http/1.1 200" }), "{path}: {head}");
        let policy = head.lines().find_map(|line| line.strip_prefix("content-security-policy: ")).expect("a policy");
        for directive in ["default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "frame-ancestors 'none'"] {
            assert!(policy.split("; ").any(|part| part == directive), "{path}: no {directive} in {policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
        for header in [
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "cross-origin-resource-policy: same-origin",
            "cross-origin-opener-policy: same-origin",
            "cache-control: no-store",
        ] {
            assert!(head.lines().any(|line| line == header), "{path}: no {header} in {head}");
        }
        assert!(!head.contains("access-control") && !head.contains("set-cookie"), "{head}");
        assert!(!body.contains(&web.token), "{path} has the token");
    }
    web.end();
}

#[test]
fn a_name_that_was_made_to_lead_here_is_refused() {
    let home = Home::new();
    let web = Web::start(&home, &["--allow-host", "box.example"]);
    let get = |host: &str| web.status(&["GET / HTTP/1.1", &format!("Host: {host}")]);
    for own in [web.host(), format!("localhost:{}", web.port), "localhost:8080".to_owned(), "[::1]:80".to_owned(), "BOX.example".to_owned()]
    {
        assert_eq!(get(&own), 200, "{own}");
    }
    for other in
        ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil.example", "other.box.example", "127.0.0.2", ""]
    {
        assert_eq!(get(other), 403, "{other}");
        if !other.is_empty() {
            // Its own page asks, so that the origin is that of the host.
            assert_eq!(web.socket_from(other, Some(&format!("http://{other}"))).err(), Some(403), "{other}");
        }
    }
    let own = format!("Host: {}", web.host());
    assert_eq!(web.status(&["GET / HTTP/1.1", &own, "Host: evil.example"]), 403);
    assert_eq!(web.status(&["GET http://evil.example/ HTTP/1.1", &own]), 403);
    web.end();
}

#[test]
fn another_site_can_neither_post_nor_open_a_socket() {
    let home = Home::new();
    let web = Web::start(&home, &[]);
    let host = web.host();
    let near = format!("http://127.0.0.1:{}", web.port ^ 1);
    for origin in
        [Some("https://evil.example"), Some("null"), Some(near.as_str()), Some("http://127.0.0.1"), Some("http://localhost"), None]
    {
        assert_eq!(web.socket_from(&host, origin).err(), Some(403), "{origin:?}");
        let origin = origin.map(|origin| format!("Origin: {origin}"));
        let mut lines = vec!["POST / HTTP/1.1".to_owned(), format!("Host: {host}"), "Content-Length: 0".to_owned()];
        lines.extend(origin);
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        assert_eq!(web.status(&lines), 403, "{lines:?}");
    }
    let own = format!("Origin: http://{host}");
    assert_eq!(web.status(&["POST / HTTP/1.1", &format!("Host: {host}"), "Content-Length: 0", &own]), 405);
    assert_eq!(web.status(&["POST / HTTP/1.1", &format!("Host: {host}"), "Content-Length: 0", &own, "Origin: http://evil.example"]), 403);
    // Behind a tunnel that speaks TLS, the page has another scheme.
    assert!(web.socket_from(&host, Some(&format!("https://{host}"))).is_ok());
    assert!(web.servers().is_empty(), "a server was started for a socket without the token");
    web.end();
}

#[test]
fn a_socket_that_does_not_send_the_token_is_closed() {
    let home = Home::new();
    let web = Web::start(&home, &[]);
    let wrong = [String::new(), "0".repeat(web.token.len()), web.token[1..].to_owned(), json!({ "token": web.token }).to_string()];
    for first in wrong.map(Message::text).into_iter().chain([Message::binary(web.token.clone().into_bytes())]) {
        let mut socket = web.socket();
        socket.send(first.clone()).expect("a message");
        assert_eq!(text(&mut socket), Err(Some(WRONG_TOKEN)), "{first}");
    }
    let mut silent = web.socket();
    assert_eq!(text(&mut silent), Err(Some(WRONG_TOKEN)));
    assert!(web.servers().is_empty(), "a server was started for a socket without the token");
    // Those that wait for the token are few, and make room when they go.
    let waiting: Vec<_> = (0..8).map(|_| web.socket()).collect();
    assert_eq!(web.socket_from(&web.host(), Some(&format!("http://{}", web.host()))).err(), Some(503));
    drop(waiting);
    until("there is room again", || web.socket_from(&web.host(), Some(&format!("http://{}", web.host()))).ok());
    web.end();
}

#[test]
fn each_start_has_another_token() {
    let home = Home::new();
    let (one, other) = (Web::start(&home, &[]), Web::start(&home, &[]));
    let mut socket = one.socket();
    socket.send(Message::text(other.token.clone())).expect("a message");
    assert_eq!(text(&mut socket), Err(Some(WRONG_TOKEN)));
    assert!(Process::all().iter().all(|process| !process.command.contains(&one.token)), "a process list shows the token");
    one.end();
    other.end();
}

#[test]
fn each_socket_is_a_client_with_a_server_that_ends_with_it() {
    let home = Home::new();
    let web = Web::start(&home, &[]);
    let (mut one, mut other) = (web.page(), web.page());
    assert!(!one.read_only);
    let run = one.call("run/start", json!({ "provider": "command", "command": sh("cat; echo end"), "interactive": true }))["run"].clone();
    let run = run["id"].as_str().expect("an id").to_owned();
    other.call("run/attach", json!({ "runId": run, "afterSeq": 0 }));
    assert_eq!(web.servers().len(), 2);

    drop(one);
    until("the server of the closed socket ends", || (web.servers().len() == 1).then_some(()));
    other.call("run/send", json!({ "runId": run, "text": "still here\n" }));
    other.call("run/closeInput", json!({ "runId": run }));
    assert_eq!(other.stdout_to_end(&run), "still here\nend\n".len());

    // The other way round: the socket ends with its server.
    kill(web.servers()[0].pid);
    assert_eq!(text(&mut other.socket), Err(Some(CloseCode::Away)));
    web.page().call("run/get", json!({ "runId": run }));
    web.end();
}

#[test]
fn runs_go_on_when_the_page_ends() {
    let home = Home::new();
    let mut web = Web::start(&home, &[]);
    let mut page = web.page();
    let command = json!({ "provider": "command", "command": sh("read word; echo $word"), "interactive": true });
    let run = page.call("run/start", command)["run"]["id"].as_str().expect("an id").to_owned();
    let servers = web.servers();
    kill(web.process.id());
    web.process.wait().expect("it ends");
    for server in servers {
        until("its servers end with it", || (!Process::is_alive(server.pid)).then_some(()));
    }
    let mut server: Server = home.server();
    assert_eq!(server.get(&run)["state"], "running");
    server.call("run/send", json!({ "runId": run, "text": "on\n" }));
    server.get_until(&run, "the run ends by itself", |run| run["state"] == "succeeded");
}

#[test]
fn a_page_to_look_on_changes_nothing() {
    let home = Home::new();
    let mut server = home.server();
    let (run, _) = server.sh("sleep 1000");
    let run = run["id"].as_str().expect("an id");
    let web = Web::start(&home, &["--read-only"]);
    let mut page = web.page();
    assert!(page.read_only);
    let file = home.path().join("exported").display().to_string();
    let changes = [
        ("run/start", json!({ "provider": "command", "command": ["true"] })),
        ("run/send", json!({ "runId": run, "text": "x" })),
        ("run/unqueue", json!({ "runId": run, "promptId": "1" })),
        ("run/setSize", json!({ "runId": run, "rows": 1, "cols": 1 })),
        ("run/closeInput", json!({ "runId": run })),
        ("run/interrupt", json!({ "runId": run })),
        ("run/cancel", json!({ "runId": run })),
        ("run/answer", json!({ "runId": run, "permissionId": "1", "optionId": "1" })),
        ("run/configure", json!({ "runId": run, "model": "x" })),
        ("run/takeover", json!({ "runId": run })),
        ("run/edit", json!({ "runId": run, "title": "x" })),
        ("run/delete", json!({ "runId": run })),
        ("run/export", json!({ "runId": run, "format": "text", "path": file })),
        ("rule/add", json!({ "rule": { "decision": "allow", "command": "*" } })),
        ("rule/remove", json!({ "ruleId": "1" })),
        ("provider/list", json!({})),
        ("provider/options", json!({ "provider": "claude" })),
        ("session/list", json!({ "provider": "claude" })),
        ("store/prune", json!({})),
    ];
    for (method, params) in &changes {
        let answer = page.request(method, params.clone());
        assert_eq!(answer["error"]["data"]["kind"], "forbidden", "{method}: {answer}");
        assert_eq!(answer["error"]["code"], -32019, "{method}");
    }
    // Every other method passes, so that the list above is that of all that change something.
    for method in loomd::model::METHODS.iter().filter(|method| method.name != "shutdown") {
        if !changes.iter().any(|(name, _)| *name == method.name) || method.name == "run/export" {
            assert_ne!(page.request(method.name, json!({ "runId": run }))["error"]["data"]["kind"], "forbidden", "{}", method.name);
        }
    }
    page.send(&json!([{ "jsonrpc": "2.0", "id": 1, "method": "run/cancel", "params": { "runId": run } }]));
    assert_eq!(page.answer()["error"]["data"]["kind"], "invalidRequest");
    page.send(&json!({ "jsonrpc": "2.0", "method": "run/cancel", "params": { "runId": run } }));
    assert_eq!(page.call("run/get", json!({ "runId": run }))["run"]["state"], "running");
    assert!(!home.path().join("exported").exists());
    web.end();
    server.cancel(run);
}

#[test]
fn a_message_that_is_too_long_ends_its_socket_and_no_other() {
    let home = Home::new();
    let web = Web::start(&home, &[]);
    let (mut one, mut other) = (web.page(), web.page());
    let long = json!({ "jsonrpc": "2.0", "id": 9, "method": "run/list", "params": { "cwd": "x".repeat(17 << 20) } });
    // The socket is closed while it is sent, so either side may be the first to notice.
    if one.socket.send(Message::text(long.to_string())).is_ok() {
        assert!(text(&mut one.socket).is_err());
    }
    until("its server ends", || (web.servers().len() == 1).then_some(()));
    other.call("run/list", json!({ "cwd": "x".repeat(1 << 20) }));
    web.end();
}

#[test]
fn at_most_32_pages_are_served() {
    let home = Home::new();
    let web = Web::start(&home, &[]);
    let mut pages: Vec<_> = (0..32).map(|_| web.page()).collect();
    let refused = |web: &Web| {
        let mut socket = web.socket();
        socket.send(Message::text(web.token.clone())).expect("the token");
        text(&mut socket).err()
    };
    assert_eq!(refused(&web), Some(Some(CloseCode::Again)));
    pages.pop();
    until("there is room again", || refused(&web).is_none().then_some(()));
    web.end();
}

/// A page that reads nothing leaves the output where it is, in the run's log.
#[test]
fn a_page_that_reads_slowly_costs_no_memory_and_misses_nothing() {
    const FLOOD_BYTES: usize = 48 << 20;
    let home = Home::new();
    let web = Web::start(&home, &[]);
    let mut page = web.page();
    let script = format!("yes 'a line of a flood, as long as lines of logs are' | head -c {FLOOD_BYTES}");
    page.send(&json!({ "jsonrpc": "2.0", "id": 5, "method": "run/start", "params": { "provider": "command", "command": sh(&script) } }));
    let mut watching = home.server();
    let run = until("the run is there", || watching.call("run/list", json!({}))["runs"].get(0).cloned());
    let run = run["id"].as_str().expect("an id").to_owned();
    watching.get_until(&run, "the run ends though the page reads nothing", |run| run["state"] == "succeeded");
    let most = peak(web.process.id());
    assert!(most < FLOOD_BYTES, "{most} bytes for {FLOOD_BYTES} bytes of output");
    assert_eq!(page.stdout_to_end(&run), FLOOD_BYTES);
    let most = peak(web.process.id());
    assert!(most < FLOOD_BYTES, "{most} bytes for {FLOOD_BYTES} bytes of output");
    web.end();
}
