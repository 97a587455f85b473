//! Everything the simulated platform is: its settings, clock, keys, memory.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::{Config, KeyMode, Push};
use crate::cos::Cos;
use crate::courier::Held;
use crate::crypt;
use crate::faults::Faults;
use crate::keys::{Signer, certificate_serial};
use crate::observed::Record;
use crate::pay::BillFile;
use crate::people::People;
use crate::tokens::Tokens;
use crate::trade::Trade;
use crate::virtual_payment::Virtual;
use crate::wx::Verdict;

/// One platform with one mini program.
pub(crate) struct Platform {
    pub(crate) config: Config,
    pub(crate) api_v3_key: [u8; 32],
    pub(crate) clock: Clock,
    pub(crate) keys: Keys,
    pub(crate) faults: Faults,
    pub(crate) record: Record,
    pub(crate) outside: reqwest::Client,
    pub(crate) cos: Cos,
    pub(crate) end: CancellationToken,
    /// Callbacks on their way.
    pub(crate) under_way: AtomicUsize,
    state: Mutex<State>,
    urls: OnceLock<(String, String)>,
}

/// All that changes.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) people: People,
    pub(crate) tokens: Tokens,
    pub(crate) trade: Trade,
    pub(crate) virtual_payment: Virtual,
    pub(crate) bills: BTreeMap<String, BillFile>,
    /// Where events go; changeable, as the console is.
    pub(crate) push: Option<Push>,
    /// Changeable like `push`.
    pub(crate) routes: BTreeMap<String, String>,
    /// Base of the container's own service.
    pub(crate) container_service: Option<String>,
    pub(crate) held: Vec<Held>,
    /// Verdicts on pictures: part of the URL → verdict.
    pub(crate) pictures: Vec<(String, Verdict)>,
    /// `metaid` → path, as encoded for the container.
    pub(crate) file_ids: BTreeMap<String, String>,
}

impl Platform {
    pub(crate) fn new(config: Config, cos: Cos) -> anyhow::Result<Self> {
        let api_v3_key = <[u8; 32]>::try_from(config.api_v3_key.as_bytes())
            .ok()
            .context("an APIv3 key has 32 characters")?;
        let outside = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([])
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_millis(config.callback_timeout_ms))
            .build()?;
        let state = State {
            virtual_payment: Virtual::new(config.products.clone()),
            push: config.push.clone(),
            routes: config.routes.clone(),
            container_service: config.container_service.clone(),
            ..State::default()
        };
        Ok(Self {
            keys: Keys::generate(config.key_mode)?,
            api_v3_key,
            config,
            clock: Clock::default(),
            faults: Faults::default(),
            record: Record::default(),
            outside,
            cos,
            end: CancellationToken::new(),
            under_way: AtomicUsize::new(0),
            state: Mutex::new(state),
            urls: OnceLock::new(),
        })
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `http://127.0.0.1:port` of the public side.
    pub(crate) fn public_url(&self) -> &str {
        self.urls.get().map_or("", |(public, _)| public)
    }

    /// `http://127.0.0.1:port` of the side-car.
    pub(crate) fn container_url(&self) -> &str {
        self.urls.get().map_or("", |(_, container)| container)
    }

    /// Set once, when the listeners are there.
    pub(crate) fn set_urls(&self, public: String, container: String) {
        let _ = self.urls.set((public, container));
    }

    /// A URL after the route whose prefix it has.
    pub(crate) fn routed(&self, url: &str) -> String {
        let state = self.state();
        let routes = state.routes.iter();
        let route = routes.filter_map(|(from, to)| Some((url.strip_prefix(from.as_str())?, to))).next();
        route.map_or_else(|| url.to_owned(), |(rest, to)| format!("{to}{rest}"))
    }
}

/// All keys that sign.
pub(crate) struct Keys {
    /// The merchant's own; the platform knows its public half.
    pub(crate) merchant: Signer,
    mode: KeyMode,
    public_key: Option<Signer>,
    certificate: Option<(Signer, String)>,
    turn: AtomicBool,
}

impl Keys {
    fn generate(mode: KeyMode) -> anyhow::Result<Self> {
        let public_key = match mode {
            KeyMode::Certificates => None,
            _ => Some(Signer::generate(format!("PUB_KEY_ID_0{}", crypt::digits(31)))?),
        };
        let certificate = match mode {
            KeyMode::PublicKey => None,
            _ => {
                let signer = Signer::generate(certificate_serial())?;
                let pem = signer.certificate_pem()?;
                Some((signer, pem))
            }
        };
        let merchant = Signer::generate(certificate_serial())?;
        Ok(Self { merchant, mode, public_key, certificate, turn: AtomicBool::new(false) })
    }

    /// The key for an answer to somebody who named `wanted`.
    pub(crate) fn answering(&self, wanted: Option<&str>) -> &Signer {
        let named = wanted.is_some_and(|serial| serial.starts_with("PUB_KEY_ID_"));
        let certificate = self.certificate.as_ref().map(|(signer, _)| signer);
        let (first, second) = match self.mode {
            KeyMode::Migrating if !named => (certificate, self.public_key.as_ref()),
            _ => (self.public_key.as_ref(), certificate),
        };
        first.or(second).unwrap_or(&self.merchant)
    }

    /// The key for a callback: in turn where there are two.
    pub(crate) fn calling(&self) -> &Signer {
        let turn = self.mode == KeyMode::Migrating && self.turn.fetch_not(Ordering::SeqCst);
        self.answering(turn.then_some("PUB_KEY_ID_"))
    }

    pub(crate) fn is_known(&self, serial: &str) -> bool {
        let certificate = self.certificate.as_ref().map(|(signer, _)| signer);
        self.public_key.as_ref().into_iter().chain(certificate).any(|signer| signer.serial == serial)
    }

    /// Serial and PEM of each certificate.
    pub(crate) fn certificates(&self) -> Vec<(&str, &str)> {
        self.certificate.iter().map(|(signer, pem)| (signer.serial.as_str(), pem.as_str())).collect()
    }

    pub(crate) fn public_key(&self) -> Option<&Signer> {
        self.public_key.as_ref()
    }
}
