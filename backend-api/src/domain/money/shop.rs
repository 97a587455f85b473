//! What is sold. The configuration lists it; orders keep a copy of what they bought.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Credits, Fen, Rail};

/// Longest id of an item, in bytes.
const ITEM_ID_MAX: usize = 64;

/// Names an item for ever; virtual payment knows it as the product id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ItemId(String);

impl ItemId {
    /// `None` unless 1 to 64 of `a-z A-Z 0-9 _ -`.
    pub fn new(id: &str) -> Option<Self> {
        let is_valid = (1..=ITEM_ID_MAX).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        is_valid.then(|| Self(id.to_owned()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Something with a price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its name.
    pub id: ItemId,
    /// What people read, also on their bill; at most 127 characters (FACTS §3.4).
    pub title: String,
    /// What it costs.
    pub price: Fen,
    /// What it gives; nothing for a service.
    pub credits: Credits,
}

impl Item {
    /// Credits are virtual goods and sold by virtual payment alone; services by WeChat Pay (FACTS §4.2).
    pub fn rail(&self) -> Rail {
        if self.credits.is_zero() { Rail::WechatPay } else { Rail::Virtual }
    }
}

/// Everything on sale, by id.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shop(BTreeMap<ItemId, Item>);

impl Shop {
    /// The item of that id.
    pub fn find(&self, id: &ItemId) -> Option<&Item> {
        self.0.get(id)
    }

    /// All items, by id.
    pub fn items(&self) -> impl Iterator<Item = &Item> {
        self.0.values()
    }
}

impl FromIterator<Item> for Shop {
    fn from_iter<T: IntoIterator<Item = Item>>(items: T) -> Self {
        Self(items.into_iter().map(|item| (item.id.clone(), item)).collect())
    }
}
