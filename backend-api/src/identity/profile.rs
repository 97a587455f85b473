//! What people tell about themselves: kept sealed, shown to them alone, the phone number masked even so.

use secrecy::{ExposeSecret as _, SecretString};

use super::{ExchangeError, Identity, IdentityError};
use crate::clock::now;
use crate::db::ProfileRow;
use crate::domain::UserId;

/// What is known of a person.
#[derive(Debug, Clone, Default)]
pub struct Profile {
    /// With its country code: `+86 13800138000`.
    pub phone: Option<SecretString>,
    /// What they want to be called.
    pub name: Option<SecretString>,
    /// Where their picture is.
    pub picture_url: Option<SecretString>,
}

impl Identity {
    /// Exchanges a code of the phone button and keeps the number.
    ///
    /// # Errors
    /// See [`IdentityError`].
    pub async fn tell_phone(&self, user: UserId, code: &str) -> Result<Profile, IdentityError> {
        let wechat = self.inner.wechat.as_ref().ok_or(IdentityError::NoWechat)?;
        let phone = wechat.phone_number(code).await.map_err(ExchangeError::from)?;
        let number = format!("+{} {}", phone.country_code, phone.number.expose_secret());
        self.tell(user, Profile { phone: Some(number.into()), ..Profile::default() }).await?;
        self.profile(user).await
    }

    /// Keeps those parts that are given.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn tell(&self, user: UserId, told: Profile) -> Result<(), IdentityError> {
        let seal = |field: &str, value: &Option<SecretString>| {
            let value = value.as_ref()?;
            Some(self.inner.sealer.seal(&place(user, field), value.expose_secret()))
        };
        let row = ProfileRow {
            phone: seal("phone", &told.phone),
            name: seal("name", &told.name),
            picture_url: seal("picture", &told.picture_url),
        };
        let database = &self.inner.database;
        Ok(database.retry(|| database.save_profile(user, row.clone(), now())).await?)
    }

    /// What is known of a person.
    ///
    /// # Errors
    /// See [`IdentityError`].
    pub async fn profile(&self, user: UserId) -> Result<Profile, IdentityError> {
        let database = &self.inner.database;
        let row = database.retry(|| database.find_profile(user)).await?;
        let open = |field: &str, sealed: Option<Vec<u8>>| {
            sealed.map(|sealed| self.inner.sealer.open(&place(user, field), &sealed)).transpose()
        };
        Ok(Profile {
            phone: open("phone", row.phone)?,
            name: open("name", row.name)?,
            picture_url: open("picture", row.picture_url)?,
        })
    }
}

fn place(user: UserId, field: &str) -> String {
    format!("{field} {user}")
}

/// A phone number that its owner recognises and nobody else can call: `+86 138****8000`.
pub fn masked(phone: &str) -> String {
    let (country, number) = phone.split_once(' ').unwrap_or(("", phone));
    let digits: Vec<char> = number.chars().collect();
    let hidden = match digits.len() {
        0..=5 => "****".to_owned(),
        length @ 6..=10 => format!("****{}", digits.iter().skip(length - 2).collect::<String>()),
        length => {
            let head: String = digits.iter().take(3).collect();
            let tail: String = digits.iter().skip(length - 4).collect();
            format!("{head}****{tail}")
        }
    };
    format!("{country} {hidden}").trim_start().to_owned()
}

#[cfg(test)]
mod tests {
    use super::masked;

    #[test]
    fn at_least_four_digits_of_a_number_are_hidden() {
        assert_eq!(masked("+86 13800138000"), "+86 138****8000");
        assert_eq!(masked("+1 1234567890"), "+1 ****90");
        assert_eq!(masked("+1 123456"), "+1 ****56");
        assert_eq!(masked("+1 1234"), "+1 ****");
        assert_eq!(masked(""), "****");
    }
}
