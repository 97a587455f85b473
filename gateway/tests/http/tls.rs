//! TLS and mutual TLS of the listener, and certificates that change while it serves.

use std::path::Path;

use gateway::store::Scope;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use reqwest::{Certificate, Client, Identity, Method, StatusCode, Version};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::world::{PATIENCE, World, picture, until};

/// An authority that makes certificates.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A certificate and its key, PEM.
    fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }

    /// Puts a new certificate of the server into its files.
    fn put(&self, folder: &Path) {
        let (cert, key) = self.issue("localhost");
        std::fs::write(folder.join("tls.crt"), cert).unwrap();
        std::fs::write(folder.join("tls.key"), key).unwrap();
    }

    /// A client that trusts only this authority.
    fn client(&self, identity: Option<(String, String)>) -> Client {
        let builder = Client::builder()
            .tls_certs_only([Certificate::from_pem(self.0.pem().as_bytes()).unwrap()])
            .redirect(reqwest::redirect::Policy::none());
        let builder = match identity {
            None => builder,
            Some((cert, key)) => {
                builder.identity(Identity::from_pem(format!("{cert}{key}").as_bytes()).unwrap())
            }
        };
        builder.build().unwrap()
    }
}

struct Secured {
    world: World,
    folder: tempfile::TempDir,
}

impl Secured {
    async fn start(server: &Authority, clients: Option<&Authority>, toml: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        server.put(folder.path());
        let path = |name: &str| folder.path().join(name).display().to_string();
        let mut section = format!("[tls]\ncert = {:?}\nkey = {:?}\n", path("tls.crt"), path("tls.key"));
        if let Some(clients) = clients {
            std::fs::write(folder.path().join("clients.crt"), clients.0.pem()).unwrap();
            section += &format!("client_ca = {:?}\n", path("clients.crt"));
        }
        let mut world = World::with(vec![], &(section + toml)).await;
        world.base = format!("https://localhost:{}", world.app.address().port());
        world.client = server.client(None);
        Self { world, folder }
    }

    async fn is_up_for(&self, client: &Client) -> bool {
        let asked = client.get(format!("{}/livez", self.world.base)).send().await;
        asked.is_ok_and(|response| response.status() == StatusCode::OK)
    }

    async fn reads(&self, outcome: &str) -> Option<f64> {
        let name = format!("gateway_tls_reloads_total{{outcome=\"{outcome}\"}} ");
        let text = self.world.get("/metrics").await.text().await.unwrap();
        text.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok())
    }
}

#[tokio::test]
async fn the_listener_speaks_tls_with_http_2_and_its_urls_say_so() {
    let authority = Authority::new();
    let secured = Secured::start(&authority, None, "").await;
    let world = &secured.world;
    let response = world.get("/livez").await;
    assert_eq!((response.status(), response.version()), (StatusCode::OK, Version::HTTP_2));
    let body = json!({"workflow": picture(1)});
    let job: Value = world.post("/api/v2/jobs", &body).await.json().await.unwrap();
    let url = job["urls"]["self"].as_str().or(job["urls"]["events"].as_str()).unwrap();
    assert!(!url.starts_with("http://"), "{url}");
    let http1 = authority.client(None);
    assert!(secured.is_up_for(&http1).await);
    let plain = world.base.replace("https", "http");
    assert!(
        Client::new().get(format!("{plain}/livez")).send().await.is_err(),
        "nothing is answered in the clear"
    );
}

#[tokio::test]
async fn a_new_certificate_is_taken_while_open_connections_go_on() {
    let (old, new) = (Authority::new(), Authority::new());
    let secured = Secured::start(&old, None, "").await;
    assert!(secured.is_up_for(&secured.world.client).await);
    assert!(!secured.is_up_for(&new.client(None)).await);

    std::fs::write(secured.folder.path().join("tls.key"), "not a key").unwrap();
    secured.world.app.reload_certificates();
    assert_eq!(secured.reads("failed").await, Some(1.0));
    assert!(secured.is_up_for(&old.client(None)).await, "what cannot be read replaces nothing");

    new.put(secured.folder.path());
    until("the new certificate is shown", async || secured.is_up_for(&new.client(None)).await.then_some(()))
        .await;
    assert!(!secured.is_up_for(&old.client(None)).await, "new connections get the new one");
    assert!(secured.is_up_for(&secured.world.client).await, "the open connection goes on");
    assert_eq!(secured.reads("read").await, Some(1.0));
}

#[tokio::test]
async fn mutual_tls_wants_a_certificate_of_the_right_authority() {
    let (server, clients, others) = (Authority::new(), Authority::new(), Authority::new());
    let mut secured = Secured::start(&server, Some(&clients), "").await;
    let known = server.client(Some(clients.issue("backend")));
    assert!(secured.is_up_for(&known).await);
    assert!(!secured.is_up_for(&server.client(None)).await, "no certificate");
    assert!(!secured.is_up_for(&server.client(Some(others.issue("backend")))).await, "another authority's");

    // Another authority from now on: sessions of before are not resumed.
    std::fs::write(secured.folder.path().join("clients.crt"), others.0.pem()).unwrap();
    let other = server.client(Some(others.issue("backend")));
    until("the other authority counts", async || secured.is_up_for(&other).await.then_some(())).await;
    assert!(!secured.is_up_for(&server.client(Some(clients.issue("backend")))).await);

    // A certificate is no key.
    secured.world.client = other;
    secured.world.key("team", Scope::Read).await;
    let asked = secured.world.request(Method::GET, "/v1/jobs").send().await.unwrap();
    assert_eq!(asked.status(), StatusCode::UNAUTHORIZED);
}

/// Reads until the peer closes; what it said.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut said = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut said)).await;
    // A reset is as good an end as a close.
    let _ = read.expect("the peer closes the connection in time");
    said
}

#[tokio::test]
async fn nothing_older_than_tls_1_2_is_spoken() {
    let secured = Secured::start(&Authority::new(), None, "").await;
    let mut hello = vec![0x03, 0x02]; // TLS 1.1
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0xc0, 0x13, 1, 0]);
    let mut message = vec![1, 0, 0, u8::try_from(hello.len()).unwrap()];
    message.append(&mut hello);
    let mut record = vec![0x16, 3, 1, 0, u8::try_from(message.len()).unwrap()];
    record.append(&mut message);
    let mut stream = TcpStream::connect(secured.world.app.address()).await.unwrap();
    stream.write_all(&record).await.unwrap();
    assert_eq!(rest(&mut stream).await.first(), Some(&0x15), "an alert, no handshake");
}

#[tokio::test]
async fn a_handshake_that_does_not_come_ends_and_holds_up_nobody() {
    let authority = Authority::new();
    let secured = Secured::start(&authority, None, "handshake_seconds = 1\nmax_handshakes = 2\n").await;
    let mut silent = TcpStream::connect(secured.world.app.address()).await.unwrap();
    let mut half = TcpStream::connect(secured.world.app.address()).await.unwrap();
    half.write_all(&[0x16, 3, 1]).await.unwrap();
    let said = tokio::join!(rest(&mut silent), rest(&mut half));
    assert_eq!(said, (vec![], vec![]));
    assert!(secured.is_up_for(&authority.client(None)).await, "the places of both are free again");
}
