//! `[shop.items.<id>]`: what is sold.

use toml::{Table, Value};

use super::source::Source;
use crate::domain::money::{Credits, Fen, Item, ItemId, Rail, Shop};

/// Longest title, in characters: that of a payment (FACTS §3.4).
const TITLE_MAX: usize = 127;
/// No item is dearer: a million yuan.
const PRICE_MAX: i64 = 100_000_000;
/// No item gives more.
const CREDITS_MAX: i64 = 1_000_000_000;

pub(super) fn read(source: &mut Source<'_>) -> Shop {
    let tables = source.tables("shop.items");
    tables.into_iter().filter_map(|(name, table)| item(source, &name, table)).collect()
}

fn item(source: &mut Source<'_>, name: &str, mut table: Table) -> Option<Item> {
    let place = format!("shop.items.{name}");
    let title = table.remove("title");
    let price = table.remove("price_fen");
    let credits = table.remove("credits");
    let rail = table.remove("rail");
    for left in table.keys() {
        source.problem(&format!("{place}.{left}"), "there is no such setting");
    }
    let mut wrong = |setting: &str, message: &str| source.problem(&format!("{place}{setting}"), message);
    let id = ItemId::new(name);
    if id.is_none() {
        wrong("", "1 to 64 of a-z A-Z 0-9 _ - are expected for the name of an item");
    }
    let title = title
        .as_ref()
        .and_then(Value::as_str)
        .filter(|title| !title.trim().is_empty() && title.chars().count() <= TITLE_MAX);
    if title.is_none() {
        wrong(".title", "1 to 127 characters are expected");
    }
    let whole = |value: &Option<Value>, least, most| {
        value.as_ref().and_then(Value::as_integer).filter(|number| (least..=most).contains(number))
    };
    let price = whole(&price, 1, PRICE_MAX).and_then(Fen::new);
    if price.is_none() {
        wrong(".price_fen", "a whole number of fen from 1 to 100000000 is expected");
    }
    let gives = match &credits {
        None => Some(Credits::ZERO),
        credits => whole(credits, 0, CREDITS_MAX).and_then(Credits::new),
    };
    if gives.is_none() {
        wrong(".credits", "a whole number from 0 to 1000000000 is expected");
    }
    let item = Item { id: id?, title: title?.to_owned(), price: price?, credits: gives? };
    if rail.is_some_and(|rail| rail.as_str().and_then(Rail::named) != Some(item.rail())) {
        // Selling virtual goods by anything else gets a mini program closed (FACTS §4.1).
        wrong(".rail", "credits are sold by \"virtual\" alone, everything else by \"wechat_pay\"");
    }
    Some(item)
}
