//! RSA keys: the merchant's, and those by which the platform signs.

use anyhow::Context as _;
use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, UnparsedPublicKey};
use rcgen::{CertificateParams, DistinguishedName, DnType, PKCS_RSA_SHA256, SerialNumber};

use crate::crypt;

/// Characters of a line of PEM.
const PEM_LINE: usize = 64;

/// A key pair with the serial by which others name it.
pub(crate) struct Signer {
    /// Of a certificate, upper-case hex, or `PUB_KEY_ID_…`.
    pub(crate) serial: String,
    pair: KeyPair,
    pkcs8: Vec<u8>,
    spki: Vec<u8>,
}

impl Signer {
    /// A fresh pair of 2048 bits.
    ///
    /// # Errors
    /// When the machine cannot make one.
    pub(crate) fn generate(serial: String) -> anyhow::Result<Self> {
        Self::of(KeyPair::generate(KeySize::Rsa2048).context("no RSA key")?, serial)
    }

    fn of(pair: KeyPair, serial: String) -> anyhow::Result<Self> {
        let pkcs8: Pkcs8V1Der<'static> = pair.as_der().context("a key that cannot be written")?;
        let spki: PublicKeyX509Der<'static> =
            pair.public_key().as_der().context("a key that cannot be written")?;
        let (pkcs8, spki) = (pkcs8.as_ref().to_vec(), spki.as_ref().to_vec());
        Ok(Self { serial, pair, pkcs8, spki })
    }

    /// A pair that is known.
    #[cfg(test)]
    pub(crate) fn known(pkcs8: &[u8]) -> anyhow::Result<Self> {
        Self::of(KeyPair::from_pkcs8(pkcs8)?, String::new())
    }

    /// SHA256-RSA2048, base64.
    pub(crate) fn sign(&self, message: &[u8]) -> String {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
            .expect("a key of 2048 bits signs any message");
        crypt::base64(&signature)
    }

    /// Whether a signature in base64 is this key's.
    pub(crate) fn verifies(&self, message: &[u8], signature: &str) -> bool {
        verify(&self.spki, message, signature)
    }

    pub(crate) fn private_key_pem(&self) -> String {
        pem("PRIVATE KEY", &self.pkcs8)
    }

    pub(crate) fn public_key_pem(&self) -> String {
        pem("PUBLIC KEY", &self.spki)
    }

    /// A certificate under the signer's serial, which has to be hex.
    ///
    /// # Errors
    /// When the serial is not hex.
    pub(crate) fn certificate_pem(&self) -> anyhow::Result<String> {
        let serial = hex::decode(&self.serial).context("a serial that is not hex")?;
        let mut parameters = CertificateParams::default();
        parameters.serial_number = Some(SerialNumber::from(serial));
        parameters.distinguished_name = DistinguishedName::new();
        parameters.distinguished_name.push(DnType::CommonName, "Tenpay.com sign (simulated)");
        let der = self.pkcs8.clone().into();
        let pair = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_RSA_SHA256)?;
        Ok(parameters.self_signed(&pair)?.pem())
    }
}

/// Checks SHA256-RSA2048 with a public key as SPKI in DER. Bad base64 is a signature that does not hold.
pub(crate) fn verify(spki: &[u8], message: &[u8], signature: &str) -> bool {
    let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, spki);
    crypt::from_base64(signature).is_some_and(|signature| key.verify(message, &signature).is_ok())
}

/// A certificate's serial: 20 bytes as upper-case hex, the first of them neither zero nor above 0x7f.
pub(crate) fn certificate_serial() -> String {
    let mut serial = crypt::bytes::<20>();
    serial[0] = serial[0] & 0x3f | 0x40;
    hex::encode_upper(serial)
}

fn pem(label: &str, der: &[u8]) -> String {
    let body = crypt::base64(der);
    let lines: Vec<&str> = body
        .as_bytes()
        .chunks(PEM_LINE)
        .map(|line| std::str::from_utf8(line).expect("base64 is ASCII"))
        .collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
