//! A person, as far as we know one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Millis, OpenId};

/// Names a person for ever, and says nothing about them; UUIDv7, so ids sort by first sight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct UserId(pub Uuid);

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a person may do. Granted by hand in table `users`; nothing over HTTP changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Their own things.
    User,
    /// What coaches do, beside it.
    Coach,
    /// Everything.
    Admin,
}

impl Role {
    /// The name used in tables and tokens.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Coach => "coach",
            Self::Admin => "admin",
        }
    }
}

impl FromStr for Role {
    type Err = String;

    /// Reads what [`Self::as_str`] wrote; the error is the unknown name.
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        [Self::User, Self::Coach, Self::Admin]
            .into_iter()
            .find(|role| role.as_str() == name)
            .ok_or_else(|| name.to_owned())
    }
}

/// A person who has not left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Their name here.
    pub id: UserId,
    /// What they may do.
    pub role: Role,
    /// When they were first seen.
    pub created_at: Millis,
}

/// A person's account at WeChat, towards one mini program.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WechatAccount {
    /// The mini program.
    pub appid: String,
    /// The person, towards it.
    pub openid: OpenId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_is_read_back_from_its_name() {
        for role in [Role::User, Role::Coach, Role::Admin] {
            assert_eq!(role.as_str().parse(), Ok(role));
        }
        assert_eq!("root".parse::<Role>(), Err("root".to_owned()));
    }
}
