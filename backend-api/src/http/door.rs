//! What is true of a door: who may use it, on which side it is served, and how often one caller may.

use axum::http::Method;

/// Who may use a door.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Everybody who can connect.
    Open,
    /// Whoever signed the request in a way that the handler itself checks: callbacks.
    Signed,
    /// A person, by our token or by what WeChat says of them. The handler takes a [`super::Caller`].
    User,
    /// A person who is an admin.
    Admin,
    /// An existing user system, by a signed request.
    Partner,
    /// Bearers of the trigger's token: who starts the scheduled chores.
    Trigger,
    /// Bearers of the token for metrics.
    Metrics,
}

/// As what a process serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Serving {
    /// Everything, for one service that is open to the world.
    Single,
    /// What the mini program calls; public access is off.
    App,
    /// What machines call; public.
    Callbacks,
}

/// On which side a door is served. A single service has both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// By `--role app`.
    App,
    /// By `--role callbacks`.
    Callbacks,
    /// By each.
    Both,
}

/// How often one caller may use doors of a kind. See `[http]` of the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rate {
    /// As often as they want: health, and machines with a credential of their own.
    Unlimited,
    /// Logins and their like: each costs a call to WeChat.
    Login,
    /// Looking.
    Read,
    /// Changing.
    Write,
}

/// What is true of a door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Door {
    /// Who may use it.
    pub access: Access,
    /// Where it is served.
    pub side: Side,
    /// How often.
    pub rate: Rate,
}

/// One door, as the table tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its method.
    pub method: Method,
    /// Its path, with `{parameters}`.
    pub path: String,
    /// What is true of it.
    pub door: Door,
}

impl Door {
    /// A door that needs nothing, on both sides.
    pub const fn open() -> Self {
        Self { access: Access::Open, side: Side::Both, rate: Rate::Unlimited }
    }

    /// A person's door on the app's side.
    pub const fn user(rate: Rate) -> Self {
        Self { access: Access::User, side: Side::App, rate }
    }

    /// An admin's door on the app's side.
    pub const fn admin(rate: Rate) -> Self {
        Self { access: Access::Admin, side: Side::App, rate }
    }

    /// A machine's door on the callbacks' side.
    pub const fn machine(access: Access) -> Self {
        Self { access, side: Side::Callbacks, rate: Rate::Unlimited }
    }
}

impl Serving {
    pub(super) fn serves(self, side: Side) -> bool {
        match (self, side) {
            (Self::Single, _) | (_, Side::Both) => true,
            (Self::App, side) => side == Side::App,
            (Self::Callbacks, side) => side == Side::Callbacks,
        }
    }
}

impl Rate {
    /// Its name in metrics.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Unlimited => "unlimited",
            Self::Login => "login",
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}
