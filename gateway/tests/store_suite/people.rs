//! Tenants and keys.

use std::sync::Arc;

use gateway::outbox::{SigningKey, TenantWebhook};
use gateway::store::*;

use super::builders::*;
use uuid::Uuid;

pub fn new_key(id: &str, tenant: &str) -> NewKey {
    NewKey {
        id: id.into(),
        hash: *blake3::hash(id.as_bytes()).as_bytes(),
        prefix: format!("dk_{id}"),
        tenant: tenant.into(),
        weight: 2,
        concurrency: u32::MAX,
        scope: Scope::Submit,
        networks: vec![],
        created_at: T0,
        expires_at: None,
    }
}

/// Carries out a change at `T0 + after`.
pub async fn change(
    store: &dyn Store,
    after: i64,
    order: PeopleOrder,
) -> gateway::store::Result<PeopleAnswer> {
    store.change_people(PeopleChange { by: "tester".into(), at: T0 + after, order }).await
}

pub async fn put_key(store: &dyn Store, key: NewKey) -> gateway::store::Result<KeyRow> {
    match change(store, 0, PeopleOrder::AddKey(key)).await? {
        PeopleAnswer::Key(row) => Ok(*row),
        other => panic!("{other:?}"),
    }
}

async fn revoke(store: &dyn Store, after: i64, id: &str) -> bool {
    let order = PeopleOrder::RevokeKey { id: id.into() };
    change(store, after, order).await.unwrap() == PeopleAnswer::Done
}

pub async fn a_key_makes_its_tenant_once(store: Arc<dyn Store>) {
    let first = put_key(&*store, new_key("a", "club")).await.unwrap();
    let second = put_key(&*store, NewKey { weight: 9, ..new_key("b", "club") }).await.unwrap();
    assert_eq!((first.tenant.name.as_str(), first.tenant.weight), ("club", 2));
    assert_eq!(second.tenant, first.tenant);
    let names =
        async || store.tenants().await.unwrap().into_iter().map(|tenant| tenant.name).collect::<Vec<_>>();
    assert_eq!(names().await, ["default", "club"], "everybody's own tenant is there from the start");
    assert_eq!(store.keys().await.unwrap(), [first, second]);
    assert!(put_key(&*store, new_key("a", "other")).await.is_err(), "an id is used once");
    assert_eq!(names().await.len(), 2);
}

pub async fn a_key_is_revoked_by_id_or_prefix_and_stays_revoked(store: Arc<dyn Store>) {
    put_key(&*store, new_key("a", "club")).await.unwrap();
    put_key(&*store, new_key("b", "club")).await.unwrap();
    assert!(revoke(&*store, 1, "a").await);
    assert!(revoke(&*store, 2, "dk_b").await);
    assert!(revoke(&*store, 3, "a").await);
    assert!(!revoke(&*store, 3, "c").await);
    let revoked: Vec<_> = store.keys().await.unwrap().into_iter().map(|key| key.revoked_at).collect();
    assert_eq!(revoked, [Some(T0 + 1), Some(T0 + 2)]);
}

fn draft(name: &str, weight: u32) -> TenantDraft {
    TenantDraft { name: name.into(), weight, concurrency: u32::MAX, settings: TenantSettings::default() }
}

/// What the log says: action and subject, oldest first.
async fn log(store: &dyn Store) -> Vec<(String, String)> {
    let mut lines = store.audit(None, 100).await.unwrap();
    lines.reverse();
    lines.into_iter().map(|line| (line.action, line.subject)).collect()
}

pub async fn a_change_is_logged_without_secrets_and_one_that_fails_is_not(store: Arc<dyn Store>) {
    let mut secretive = draft("club", 3);
    let keys = vec![SigningKey {
        id: "k1".into(),
        secret: gateway::link::message::Secret("hush hush hush hush".into()),
    }];
    secretive.settings.webhook = Some(TenantWebhook { keys, ..TenantWebhook::default() });
    let added = change(&*store, 1, PeopleOrder::AddTenant(secretive.clone())).await.unwrap();
    let PeopleAnswer::Tenant(added) = added else { panic!("{added:?}") };
    assert_eq!(*added.settings, secretive.settings);
    assert_eq!(
        change(&*store, 2, PeopleOrder::AddTenant(draft("club", 1))).await.unwrap(),
        PeopleAnswer::Exists
    );
    let limits = TenantLimits { steps: Some(30), ..TenantLimits::default() };
    let changed =
        TenantDraft { settings: TenantSettings { limits, ..secretive.settings }, ..draft("club", 5) };
    change(&*store, 3, PeopleOrder::ChangeTenant(changed)).await.unwrap();
    let nobody = PeopleOrder::ChangeTenant(draft("nobody", 5));
    assert_eq!(change(&*store, 4, nobody).await.unwrap(), PeopleAnswer::NotFound);

    let lines = store.audit(None, 10).await.unwrap();
    assert_eq!(lines.len(), 2);
    assert_eq!(
        (lines[0].at, lines[0].by.as_str(), lines[0].action.as_str()),
        (T0 + 3, "tester", "tenant.changed")
    );
    let before: serde_json::Value = serde_json::from_str(lines[0].before.as_ref().unwrap()).unwrap();
    let after: serde_json::Value = serde_json::from_str(lines[0].after.as_ref().unwrap()).unwrap();
    assert_eq!((&before["weight"], &after["weight"]), (&3.into(), &5.into()));
    assert_eq!(after["settings"]["limits"]["steps"], 30);
    assert_eq!(after["settings"]["webhook"]["keys"][0], serde_json::json!({"id": "k1"}));
    assert_eq!(store.audit(Some(lines[0].seq), 10).await.unwrap(), lines[1..]);
    assert!(!format!("{lines:?}").contains("hush"));
}

pub async fn a_rotated_key_goes_on_for_its_overlap_and_no_longer_than_it_would(store: Arc<dyn Store>) {
    let network = "10.0.0.0/8".parse().unwrap();
    let old = NewKey { networks: vec![network], expires_at: Some(T0 + 100), ..new_key("a", "club") };
    put_key(&*store, old).await.unwrap();
    let rotate = |id: &str, new: &str, old_until| PeopleOrder::RotateKey {
        id: id.into(),
        new: Box::new(NewKey { scope: Scope::Admin, ..new_key(new, "else") }),
        old_until: T0 + old_until,
    };
    let PeopleAnswer::Key(new) = change(&*store, 1, rotate("a", "b", 50)).await.unwrap() else { panic!() };
    assert_eq!(
        (new.tenant.name.as_str(), new.scope, &new.networks[..]),
        ("club", Scope::Submit, &[network][..])
    );
    assert_eq!(new.expires_at, Some(T0 + 100));
    let until = async |at: usize| store.keys().await.unwrap()[at].expires_at;
    assert_eq!(until(0).await, Some(T0 + 50));
    change(&*store, 2, rotate("b", "c", 500)).await.unwrap();
    assert_eq!(until(1).await, Some(T0 + 100), "never later than before");
    assert_eq!(change(&*store, 60, rotate("a", "d", 500)).await.unwrap(), PeopleAnswer::NotFound, "expired");
    assert!(revoke(&*store, 3, "b").await);
    assert_eq!(change(&*store, 4, rotate("b", "e", 500)).await.unwrap(), PeopleAnswer::NotFound, "revoked");
    let actions: Vec<_> = log(&*store).await.into_iter().map(|(action, _)| action).collect();
    assert_eq!(actions, ["tenant.added", "key.added", "key.rotated", "key.rotated", "key.revoked"]);
}

pub async fn a_removed_tenant_has_no_keys_until_it_is_made_again(store: Arc<dyn Store>) {
    put_key(&*store, new_key("a", "club")).await.unwrap();
    let retire = || PeopleOrder::RetireTenant { name: "club".into() };
    assert_eq!(change(&*store, 1, retire()).await.unwrap(), PeopleAnswer::Done);
    assert_eq!(store.keys().await.unwrap()[0].revoked_at, Some(T0 + 1));
    assert_eq!(change(&*store, 2, retire()).await.unwrap(), PeopleAnswer::NotFound);
    let key = PeopleOrder::AddKey(new_key("b", "club"));
    assert_eq!(change(&*store, 3, key).await.unwrap(), PeopleAnswer::Retired);
    let id = store.tenants().await.unwrap()[1].id;
    change(&*store, 4, PeopleOrder::AddTenant(draft("club", 2))).await.unwrap();
    let again = put_key(&*store, new_key("c", "club")).await.unwrap();
    assert_eq!((again.tenant.id, again.tenant.retired_at), (id, None), "the same tenant");
}

pub async fn the_file_wins_over_the_store_and_lets_go_of_what_it_no_longer_names(store: Arc<dyn Store>) {
    change(&*store, 1, PeopleOrder::AddTenant(draft("club", 1))).await.unwrap();
    let set =
        async |drafts: Vec<TenantDraft>| change(&*store, 2, PeopleOrder::SetFromFile(drafts)).await.unwrap();
    set(vec![draft("club", 7), draft("shop", 2)]).await;
    set(vec![draft("club", 7), draft("shop", 2)]).await;
    let shown = async || {
        let tenants = store.tenants().await.unwrap();
        tenants.into_iter().map(|it| (it.name, it.weight, it.in_file)).collect::<Vec<_>>()
    };
    let row = |name: &str, weight, in_file| (name.to_owned(), weight, in_file);
    assert_eq!(shown().await, [row("default", 1, false), row("club", 7, true), row("shop", 2, true)]);
    assert_eq!(log(&*store).await.len(), 3, "what is the same is not logged");
    assert_eq!(
        change(&*store, 3, PeopleOrder::ChangeTenant(draft("shop", 9))).await.unwrap(),
        PeopleAnswer::InFile
    );
    set(vec![draft("club", 7)]).await;
    let changed = change(&*store, 4, PeopleOrder::ChangeTenant(draft("shop", 9))).await.unwrap();
    assert!(matches!(changed, PeopleAnswer::Tenant(_)), "it is not in the file any more: {changed:?}");
    assert_eq!(shown().await[2], row("shop", 9, false));
}

pub async fn what_a_tenant_holds_is_counted_until_its_bytes_are_gone(store: Arc<dyn Store>) {
    let upload = async |name: &str, letter| mint(&*store, new_asset(record(name), hash(letter))).await.0;
    let held = async || store.held_bytes(1).await.unwrap();
    upload("a.png", 'a').await;
    upload("b.png", 'a').await;
    assert_eq!(held().await, 7, "the same bytes count once");
    upload("c.png", 'b').await;
    let id = insert_fresh(&*store, new_job()).await;
    write(&*store, vec![placed(id, 1, T0), succeeded(id, T0 + 1, vec![output("o.png", hash('c'))])])
        .await
        .unwrap();
    assert_eq!(held().await, 7 + 7 + 11);
    assert_eq!(store.held_bytes(2).await.unwrap(), 0);
    let listed = store.assets_of(1, 0, 2).await.unwrap();
    assert_eq!(listed.iter().map(|(_, it)| it.file_path.as_str()).collect::<Vec<_>>(), ["a.png", "b.png"]);
    assert_eq!(store.assets_of(1, listed[1].0, 2).await.unwrap()[0].1.file_path, "c.png");
    store.sweep(T0 + 2 * DAY, 10).await.unwrap();
    assert_eq!(held().await, 7 + 7 + 11, "forgotten, and not gone yet");
    store.sweep(T0 + 2 * DAY + HOUR, 10).await.unwrap();
    assert_eq!(held().await, 7 + 7);
}

pub async fn all_that_a_tenant_has_goes_part_by_part(store: Arc<dyn Store>) {
    let mut theirs = new_job();
    theirs.tenant = 2;
    let theirs = insert_fresh(&*store, theirs).await;
    for number in 0..3 {
        let mut job = with_key(new_job(), &format!("key {number}"), 1);
        job.labels.insert("a".into(), "b".into());
        let id = insert_fresh(&*store, job).await;
        write(&*store, vec![placed(id, 1, T0), succeeded(id, T0 + 1, vec![output("o.png", hash('c'))])])
            .await
            .unwrap();
    }
    let asset = mint(&*store, new_asset(record("a.png"), hash('a'))).await.0;
    mint(&*store, new_asset(record("b.png"), hash('b'))).await;
    let open = insert_fresh(&*store, reading(new_job(), Named::Asset(asset.id))).await;

    let erase = async || store.erase(Erase { tenant: 1, user: None, limit: 2, now: T0 + 2 }).await.unwrap();
    let erased = |jobs, assets, open: &[Uuid]| Erased { jobs, assets, others: 0, open: open.to_vec() };
    assert_eq!(erase().await, erased(2, 1, &[]));
    assert_eq!(erase().await, erased(1, 0, &[open]), "what an open job reads stays");
    let key = store.replay(1, Face::V2, "key 0".into()).await.unwrap();
    assert!(key.is_none(), "with the keys of its jobs");
    assert_eq!(erase().await, erased(0, 0, &[open]), "it may be repeated");
    write(
        &*store,
        vec![JobRecord::Ended {
            job: open,
            attempt: None,
            outcome: scheduler::Outcome::Canceled,
            error: None,
            outputs: vec![],
            started_at: None,
            used: None,
            at: T0 + 3,
        }],
    )
    .await
    .unwrap();
    assert_eq!(erase().await, erased(1, 1, &[]));
    assert_eq!(erase().await, Erased::default());
    let listed = store.list(ListQuery { tenant: 1, limit: 9, ..ListQuery::default() }).await.unwrap();
    assert!(listed.rows.is_empty());

    let doomed = store.doomed(1, 9).await.unwrap();
    assert_eq!(doomed.len(), 5);
    store.bury(doomed.into_iter().map(|(blob, _)| blob).collect()).await.unwrap();
    assert_eq!((store.held_bytes(1).await.unwrap(), store.doomed(1, 9).await.unwrap()), (0, vec![]));
    assert!(store.job(theirs).await.unwrap().is_some());
}

pub async fn a_body_and_outputs_may_go_before_the_record(store: Arc<dyn Store>) {
    let mut job = new_job();
    job.keep_for = KeepFor { body_ms: Some(10), originals_ms: None, deliverables_ms: Some(20) };
    let id = insert_fresh(&*store, job).await;
    let kept = insert_fresh(&*store, new_job()).await;
    for id in [id, kept] {
        write(&*store, vec![placed(id, 1, T0), succeeded(id, T0, vec![output("o.png", hash('c'))])])
            .await
            .unwrap();
    }
    let has = async |id| {
        let outputs = store.outputs(id).await.unwrap().len();
        (store.body(id).await.unwrap().is_some(), outputs)
    };
    store.sweep(T0 + 9, 10).await.unwrap();
    assert_eq!(has(id).await, (true, 1));
    store.sweep(T0 + 10, 10).await.unwrap();
    assert_eq!(has(id).await, (false, 1));
    store.sweep(T0 + 20, 10).await.unwrap();
    assert_eq!(has(id).await, (false, 0));
    assert_eq!(store.sweep(T0 + 21, 10).await.unwrap().jobs, 0, "each goes once");
    assert!(store.job(id).await.unwrap().is_some());
    assert_eq!(has(kept).await, (true, 1));
}

pub async fn what_was_done_for_a_person_goes_and_the_sums_stay(store: Arc<dyn Store>) {
    let url = "https://backend.example/hook";
    let webhook = Webhook { url: url.into(), receiver: url.into(), events: EventKinds::ALL };
    let of = async |user: &str| {
        let job = NewJob { user: Some(user.into()), webhook: Some(webhook.clone()), ..new_job() };
        let id = insert_fresh(&*store, job).await;
        let outputs = vec![output("o.png", hash('c'))];
        write(&*store, vec![placed(id, 1, T0), succeeded(id, T0 + 1, outputs)]).await.unwrap();
        id
    };
    let (hers, his) = (of("anna").await, of("bert").await);
    let outbox = store.outbox();
    let first = outbox.events_of(hers).await.unwrap();
    assert_eq!(first.len(), 3);
    let cursor = first[0].cursor;
    let dead = DeliveryOutcome::Dead { cursor, reason: "410".into() };
    outbox.settle(vec![dead], T0 + 2).await.unwrap();
    let undelivered = outbox.undelivered_of(hers).await.unwrap();
    assert_eq!(undelivered.iter().filter(|it| it.dead_at.is_some()).count(), 1);
    assert_eq!((undelivered.len(), undelivered[0].receiver.as_str()), (3, url));
    let newest = outbox.newest_event().await.unwrap();

    let erase = async |user: &str| {
        let what = Erase { tenant: 1, user: Some(user.into()), limit: 9, now: T0 + 3 };
        store.erase(what).await.unwrap()
    };
    assert_eq!(erase("anna").await, Erased { jobs: 1, others: 1, ..Erased::default() });
    assert_eq!(erase("anna").await, Erased::default());
    assert!(store.job(hers).await.unwrap().is_none() && store.job(his).await.unwrap().is_some());
    assert_eq!(outbox.events_of(hers).await.unwrap(), []);
    assert_eq!(outbox.undelivered_of(hers).await.unwrap(), []);
    assert_eq!(outbox.undelivered_of(his).await.unwrap().len(), 3, "his are delivered still");
    assert_eq!(store.doomed(1, 9).await.unwrap().len(), 1);
    assert_eq!(erase("bert").await, Erased { jobs: 1, others: 2, ..Erased::default() }, "and the receiver");
    assert_eq!(outbox.events_of(his).await.unwrap(), []);
    assert_eq!(outbox.newest_event().await.unwrap(), newest, "no cursor is given twice");
    let all = UsageQuery {
        tenant: 1,
        from_day: 0,
        to_day: i64::MAX,
        user: None,
        by: Some(UsageKey::User),
        after: None,
        limit: 9,
    };
    let sums = store.usage(all).await.unwrap();
    assert_eq!(sums.iter().map(|row| (row.key.as_str(), row.jobs)).collect::<Vec<_>>(), [("", 2)]);
}

pub async fn templates_of_a_tenant_go_with_it(store: Arc<dyn Store>) {
    let template = |tenant, name: &str| NewTemplate {
        tenant,
        name: name.into(),
        definition: "{}".into(),
        meta: "{}".into(),
        hash: [7; 32],
        created_at: T0,
        max_names: 9,
        max_versions: 9,
    };
    for new in [template(1, "a"), template(1, "b"), template(EVERYBODY, "c"), template(2, "d")] {
        store.put_template(new).await.unwrap();
    }
    assert_eq!(store.template_names(1, String::new(), 1).await.unwrap(), ["a"]);
    assert_eq!(store.template_names(1, "a".into(), 9).await.unwrap(), ["b"]);
    let all = Erase { tenant: 1, user: None, limit: 9, now: T0 };
    let person = Erase { user: Some("anna".into()), ..all.clone() };
    assert_eq!(store.erase(person).await.unwrap().others, 0, "they are nobody's in particular");
    assert_eq!(store.erase(all).await.unwrap().others, 2);
    assert!(store.template(1, "a".into(), None).await.unwrap().is_none());
    assert!(store.template(1, "c".into(), None).await.unwrap().is_some());
    assert!(store.template(2, "d".into(), None).await.unwrap().is_some());
}
