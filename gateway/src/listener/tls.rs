//! The certificate of the listener and those it asks of clients, read from files and read again when they change: new
//! connections get the new ones, open connections go on.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum_server::tls_rustls::RustlsConfig;
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::{self, PemObject as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::metrics::Metrics;

/// Where the certificates are, as PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The chain shown to clients, its own certificate first.
    pub cert: PathBuf,
    /// The private key of the first.
    pub key: PathBuf,
    /// Authorities of clients; given, a client without a certificate of theirs is refused.
    pub client_ca: Option<PathBuf>,
}

/// The files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// One cannot be read, or is not PEM.
    #[error("cannot use {path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// Certificate and key do not belong together, or are of a kind we do not take.
    #[error("certificate and key cannot be used: {0}")]
    Pair(#[from] rustls::Error),
    /// The authorities of clients cannot be used.
    #[error("the authorities of clients cannot be used: {0}")]
    Authorities(#[from] VerifierBuilderError),
}

/// The listener's TLS, kept up to date with its files.
#[derive(Debug)]
pub struct Tls {
    files: Files,
    config: RustlsConfig,
    read: Mutex<Look>,
    metrics: Metrics,
}

/// What the files looked like: modification time and length of each, `None` for one that is not there.
type Look = Vec<Option<(std::time::SystemTime, u64)>>;

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn open(files: Files, metrics: Metrics) -> Result<Self, TlsError> {
        let look = look(&files);
        let config = RustlsConfig::from_config(Arc::new(server_config(&files)?));
        Ok(Self { files, config, read: Mutex::new(look), metrics })
    }

    /// For the listener; follows what is read again.
    #[must_use]
    pub fn config(&self) -> RustlsConfig {
        self.config.clone()
    }

    /// Reads the files again; what was there stays when they cannot be used. Sessions begun under the old files are
    /// not resumed under the new ones.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn reload(&self) -> Result<(), TlsError> {
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) = look(&self.files);
        let read = server_config(&self.files);
        self.metrics.tls_reloaded(read.is_ok());
        match read {
            Ok(config) => {
                self.config.reload_from_config(Arc::new(config));
                info!("TLS certificates read again");
                Ok(())
            }
            Err(error) => {
                warn!(%error, "TLS certificates not read again; those before stay");
                Err(error)
            }
        }
    }

    /// Looks at the files every `period`, until `closing`.
    pub async fn keep_fresh(self: Arc<Self>, period: Duration, closing: CancellationToken) {
        loop {
            tokio::select! {
                () = closing.cancelled() => return,
                () = tokio::time::sleep(period) => {}
            }
            let tls = self.clone();
            // It is logged and counted; the next change brings the next try.
            let _ = tokio::task::spawn_blocking(move || tls.reload_if_changed()).await;
        }
    }

    fn reload_if_changed(&self) {
        let changed = look(&self.files) != *self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if changed {
            let _ = self.reload();
        }
    }
}

fn look(files: &Files) -> Look {
    let of = |path: &Path| {
        let data = std::fs::metadata(path).ok()?;
        Some((data.modified().ok()?, data.len()))
    };
    [Some(&files.cert), Some(&files.key), files.client_ca.as_ref()]
        .into_iter()
        .flatten()
        .map(|path| of(path))
        .collect()
}

/// TLS 1.3 and 1.2, nothing older.
fn server_config(files: &Files) -> Result<ServerConfig, TlsError> {
    let chain = certificates(&files.cert)?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|source| unusable(&files.key, source))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(&[&TLS13, &TLS12])?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates(path)? {
                roots.add(authority)?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).and_then(|all| all.collect::<Result<Vec<_>, _>>());
    match read {
        Ok(all) if all.is_empty() => Err(unusable(path, pem::Error::NoItemsFound)),
        Ok(all) => Ok(all),
        Err(source) => Err(unusable(path, source)),
    }
}

fn unusable(path: &Path, source: pem::Error) -> TlsError {
    TlsError::File { path: path.to_owned(), source }
}
