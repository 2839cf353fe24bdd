//! The web server of `compose-samples/hello`: POST `/helloworld` with `{"name":"Nic"}` answers `{"message":"Hello Nic"}`.
//!
//! One static program and nothing else, so that its image can be built `FROM scratch`. It ends at once on SIGTERM and
//! SIGINT: as process 1 of a container it would otherwise never see them (signal(7): process 1 gets only what it handles).

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};

/// A body longer than this is refused; ours are a few bytes.
const MAX_BODY: usize = 64 * 1024;

fn main() -> io::Result<()> {
    let mut ends = SigSet::empty();
    ends.add(Signal::SIGTERM);
    ends.add(Signal::SIGINT);
    ends.thread_block()?;
    std::thread::spawn(move || {
        let _ = ends.wait();
        std::process::exit(0);
    });
    let port = std::env::var("PORT").unwrap_or_else(|_| "8080".to_owned());
    let listener =
        TcpListener::bind(format!("[::]:{port}")).or_else(|_| TcpListener::bind(format!("0.0.0.0:{port}")))?;
    writeln!(io::stdout(), "listening on {}", listener.local_addr()?)?;
    for connection in listener.incoming() {
        let connection = connection?;
        std::thread::spawn(move || {
            if let Err(error) = serve(&connection) {
                let _ = writeln!(io::stderr(), "connection dropped: {error}");
            }
        });
    }
    Ok(())
}

/// Answers one request and closes.
fn serve(connection: &TcpStream) -> io::Result<()> {
    connection.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut reader = BufReader::new(connection).take(MAX_BODY as u64);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut length = 0;
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header)? == 0 || header.trim_end().is_empty() {
            break;
        }
        if let Some((name, value)) = header.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap_or(MAX_BODY);
        }
    }
    let mut words = request.split_whitespace();
    let (status, body) = match (words.next(), words.next()) {
        (Some("POST"), Some("/helloworld")) if length < MAX_BODY => {
            let mut body = vec![0; length];
            reader.read_exact(&mut body)?;
            greeting(&body)
        }
        (Some("POST"), Some("/helloworld")) => ("413 Content Too Large", message("the body is too long")),
        (Some("GET"), Some("/")) => ("200 OK", message("POST /helloworld with {\"name\": …}")),
        (_, Some("/helloworld")) => ("405 Method Not Allowed", message("use POST")),
        _ => ("404 Not Found", message("there is only /helloworld")),
    };
    let mut out = connection;
    write!(
        out,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn greeting(body: &[u8]) -> (&'static str, String) {
    let request: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    match request.as_ref().and_then(|request| request.get("name")).and_then(|name| name.as_str()) {
        Some(name) => ("200 OK", message(&format!("Hello {name}"))),
        None => ("400 Bad Request", message("send {\"name\": …}")),
    }
}

fn message(text: &str) -> String {
    serde_json::json!({ "message": text }).to_string()
}
