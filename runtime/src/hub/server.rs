//! A hub on this machine, for tests: one model, and what can go wrong with it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// How the hub behaves.
#[derive(Clone, Default)]
pub(super) struct Behaviour {
    /// What it answers about the model.
    pub(super) listing: String,
    /// Its files by name.
    pub(super) files: BTreeMap<String, Vec<u8>>,
    /// Every answer ends after so many bytes of its content, as if the connection broke.
    pub(super) cut: Option<usize>,
    /// Whether it knows ranges.
    pub(super) ranges: bool,
    /// The status of every answer, instead of what would be right.
    pub(super) status: Option<u16>,
    /// Whether files are said to be elsewhere, as those of the hub are.
    pub(super) redirects: bool,
    /// The token without which nothing is shown.
    pub(super) token: Option<String>,
}

/// A hub that runs until the test ends.
pub(super) struct Server {
    /// Its address.
    pub(super) endpoint: String,
    behaviour: Arc<Mutex<Behaviour>>,
    /// Path, range and token of every request.
    seen: Arc<Mutex<Vec<[String; 3]>>>,
}

impl Server {
    pub(super) fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (behaviour, seen) = (Arc::new(Mutex::new(behaviour)), Arc::new(Mutex::new(Vec::new())));
        let (shared, log) = (Arc::clone(&behaviour), Arc::clone(&seen));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let behaviour = shared.lock().unwrap().clone();
                // A client that hangs up is no matter of the server's.
                let _ = answer(stream, &behaviour, &log);
            }
        });
        Self { endpoint, behaviour, seen }
    }

    /// Changes how it behaves from now on.
    pub(super) fn change(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.behaviour.lock().unwrap());
    }

    /// Path, range and token of every request since the last call.
    pub(super) fn seen(&self) -> Vec<[String; 3]> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

fn answer(mut stream: TcpStream, behaviour: &Behaviour, log: &Mutex<Vec<[String; 3]>>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let headers: Vec<String> = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let header = |name: &str| {
        let found = headers.iter().filter_map(|line| line.split_once(": ")).find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.to_owned()).unwrap_or_default()
    };
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let (range, token) = (header("range"), header("authorization"));
    log.lock().unwrap().push([path.clone(), range.clone(), token.clone()]);
    let refused = behaviour.token.as_ref().is_some_and(|wanted| token != format!("Bearer {wanted}"));
    let name = path.rsplit('/').next().unwrap_or_default();
    let (mut status, mut body, mut more) = (200, Vec::new(), String::new());
    if let Some(wrong) = behaviour.status.or(refused.then_some(401)) {
        status = wrong;
    } else if path.starts_with("/api/models/") {
        body = behaviour.listing.clone().into_bytes();
    } else if behaviour.redirects && path.contains("/resolve/") {
        (status, more) = (302, format!("Location: /elsewhere/{name}\r\n"));
    } else if let Some(content) = behaviour.files.get(name) {
        let from = range.strip_prefix("bytes=").and_then(|range| range.strip_suffix('-')?.parse::<usize>().ok());
        match from.filter(|_| behaviour.ranges) {
            Some(from) => (status, body) = (206, content[from..].to_vec()),
            None => body.clone_from(content),
        }
    } else {
        status = 404;
    }
    let sent = if path.starts_with("/api/") { body.len() } else { behaviour.cut.unwrap_or(body.len()).min(body.len()) };
    write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n{more}\r\n", body.len())?;
    stream.write_all(&body[..sent])
}
