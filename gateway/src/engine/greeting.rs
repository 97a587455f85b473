//! The engine's end of a link: a runner introduces itself, and from then on what it reports comes in.

use tokio::sync::mpsc;
use uuid::Uuid;

use super::forwards::Forwards;
use super::registry::{Known, Registry};
use crate::link::local::{EngineEnd, Receiver};
use crate::link::message::{Command, Report};
use crate::store::FleetFact;

/// Waits for a runner's first word, introduces it and pumps its reports from then on.
pub(super) async fn greet(
    registry: &mut Registry,
    link: EngineEnd,
    known: &Known,
    cell: Uuid,
    (reports, forwards): (&mpsc::Sender<(usize, Report)>, &Forwards),
) -> Vec<FleetFact> {
    let EngineEnd { commands, reports: mut from } = link;
    // Its instances may be quicker than its first word: what they say waits until it is introduced.
    let mut early = Vec::new();
    let (host, instances) = loop {
        match from.recv().await {
            Some(Report::Hello { host, instances }) => break (host, instances),
            Some(report) => early.push(report),
            None => {
                tracing::error!("a runner left without a word");
                return Vec::new();
            }
        }
    };
    let index = registry.hosts();
    let change = registry.add_host(&host, &instances, commands.clone(), known);
    // One without instances has nothing to wait for.
    if commands.send(Command::Welcome { cell }).await.is_err() && !instances.is_empty() {
        tracing::error!(host, "a runner left after its first word");
    }
    forwards.add_host(&host, &instances, &commands);
    let (reports, forwards) = (reports.clone(), forwards.clone());
    tokio::spawn(async move {
        let _ = pump(index, early, &mut from, &reports, &forwards).await;
        forwards.lose_host(&host);
    });
    change.keep.into_iter().map(FleetFact::Instance).collect()
}

/// Gives the engine what a runner reports, until either is gone. What is passed on goes by: it is no business of turns.
async fn pump(
    host: usize,
    early: Vec<Report>,
    from: &mut Receiver<Report>,
    reports: &mpsc::Sender<(usize, Report)>,
    forwards: &Forwards,
) -> Result<(), mpsc::error::SendError<(usize, Report)>> {
    for report in early {
        reports.send((host, report)).await?;
    }
    while let Some(report) = from.recv().await {
        match report {
            Report::Forward { id, word } => forwards.hear(id, word),
            report => reports.send((host, report)).await?,
        }
    }
    Ok(())
}
