//! Whoever makes pictures, as a program of its own that may be killed: it notes a picture, holds its price, makes it or
//! fails to, and settles or releases. What it noted survives it.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use backend_api::db::Database;
use backend_api::domain::UserId;
use backend_api::money::{EndError, HoldError, Ledger};
use sea_orm::{ConnectionTrait as _, Statement};
use uuid::Uuid;

use super::kit::credits;
use crate::engines::options;

pub const TEST: &str = "money::painter::paints";
pub const DATABASE: &str = "PAINTER_DATABASE";
pub const JOURNAL: &str = "PAINTER_JOURNAL";
pub const AT_WORK: &str = "painter is at work";
const PRICE: i64 = 7;

/// A picture that was begun.
#[derive(Debug, Clone, Copy)]
struct Picture {
    user: UserId,
    /// Whether the job makes it.
    is_made: bool,
    /// Whether its price was held: without that there is no job.
    is_held: bool,
}

/// What outlives the painter.
#[derive(Debug, Default)]
pub struct Journal(BTreeMap<Uuid, Picture>);

impl Journal {
    /// A line that was cut off by a kill counts for nothing.
    pub fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let mut pictures = BTreeMap::new();
        for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            let words: Vec<_> = line.split(' ').collect();
            match words[..] {
                ["begun", id, user, is_made] => {
                    let user = UserId(user.parse().unwrap());
                    let picture = Picture { user, is_made: is_made == "true", is_held: false };
                    pictures.insert(id.parse().unwrap(), picture);
                }
                ["held", id] => {
                    if let Some(picture) = pictures.get_mut(&id.parse::<Uuid>().unwrap()) {
                        picture.is_held = true;
                    }
                }
                _ => {}
            }
        }
        Self(pictures)
    }

    pub fn cost_of_made(&self, user: UserId) -> i64 {
        let made =
            self.0.values().filter(|picture| picture.user == user && picture.is_made && picture.is_held);
        PRICE * i64::try_from(made.count()).unwrap()
    }

    /// Pictures that were paid for and not made.
    pub fn lost(&self) -> usize {
        self.0.values().filter(|picture| picture.is_held && !picture.is_made).count()
    }
}

/// Ends what was begun: a picture whose job is not known to have begun is given back.
pub async fn finish(ledger: &Ledger, journal: &Journal) {
    for (&id, picture) in &journal.0 {
        let ended = match picture.is_held && picture.is_made {
            true => ledger.settle(id).await,
            false => ledger.release(id).await,
        };
        match ended {
            Ok(_) => {}
            Err(EndError::Unknown { .. }) => assert!(!picture.is_held, "a hold was lost"),
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
#[ignore = "a child of the kill test"]
async fn paints() {
    let path = std::env::var(JOURNAL).unwrap();
    let database = Database::open(&options(&std::env::var(DATABASE).unwrap())).await.unwrap();
    let beside = sea_orm::Database::connect(std::env::var(DATABASE).unwrap()).await.unwrap();
    let ledger = Ledger::new(database);
    println!("{AT_WORK}");
    finish(&ledger, &Journal::read(Path::new(&path))).await;
    let mut journal = OpenOptions::new().create(true).append(true).open(&path).unwrap();
    let mut note = move |line: String| journal.write_all(format!("{line}\n").as_bytes()).unwrap();
    note(String::new()); // ends a line that was cut off
    for number in 0_u64.. {
        let query = "SELECT user_id FROM credit_balances WHERE available > 0";
        let statement = Statement::from_string(beside.get_database_backend(), query);
        for row in beside.query_all_raw(statement).await.unwrap() {
            let (user, id) = (UserId(row.try_get("", "user_id").unwrap()), Uuid::now_v7());
            let is_made = number % 3 != 0;
            note(format!("begun {id} {} {is_made}", user.0));
            match ledger.hold(user, credits(PRICE), id).await {
                Ok(_) => note(format!("held {id}")),
                Err(HoldError::Insufficient { .. }) => continue,
                Err(error) => panic!("{error}"),
            }
            match is_made {
                true => ledger.settle(id).await.unwrap(),
                false => ledger.release(id).await.unwrap(),
            };
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await; // pictures take time
    }
}
