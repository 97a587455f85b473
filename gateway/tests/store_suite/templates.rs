//! Templates: versions, owners, bounds.

use std::sync::Arc;

use gateway::store::{EVERYBODY, NewTemplate, PutTemplate, Store};

use super::builders::T0;

fn template(tenant: u32, name: &str, contents: &str) -> NewTemplate {
    NewTemplate {
        tenant,
        name: name.into(),
        definition: contents.into(),
        meta: r#"{"title":"x"}"#.into(),
        hash: *blake3::hash(contents.as_bytes()).as_bytes(),
        created_at: T0,
        max_names: 2,
        max_versions: 3,
    }
}

fn kept(version: u32, fresh: bool) -> PutTemplate {
    PutTemplate::Kept { version, fresh }
}

pub async fn versions_count_up_and_the_same_contents_make_none(store: Arc<dyn Store>) {
    let put = |contents| store.put_template(template(1, "a", contents));
    assert_eq!(put("one").await.unwrap(), kept(1, true));
    assert_eq!(put("one").await.unwrap(), kept(1, false));
    assert_eq!(put("two").await.unwrap(), kept(2, true));
    assert_eq!(put("one").await.unwrap(), kept(3, true), "an older one counts as new");
    assert_eq!(put("four").await.unwrap(), PutTemplate::TooManyVersions);
    let newest = store.template(1, "a".into(), None).await.unwrap().unwrap();
    assert_eq!((newest.version, &*newest.definition, newest.created_at), (3, "one", T0));
    let second = store.template(1, "a".into(), Some(2)).await.unwrap().unwrap();
    assert_eq!((&*second.definition, second.meta.as_str()), ("two", r#"{"title":"x"}"#));
    let versions = store.template_versions(1, "a".into()).await.unwrap();
    assert_eq!(versions.iter().map(|version| version.version).collect::<Vec<_>>(), [3, 2, 1]);
    assert!(store.template(2, "a".into(), None).await.unwrap().is_none(), "another tenant's");
}

pub async fn a_disabled_version_makes_room_for_the_one_before(store: Arc<dyn Store>) {
    for contents in ["one", "two"] {
        store.put_template(template(1, "a", contents)).await.unwrap();
    }
    let newest = async || store.template(1, "a".into(), None).await.unwrap().map(|row| row.version);
    assert!(store.disable_template(1, "a".into(), 2, Some(T0)).await.unwrap());
    assert_eq!(newest().await, Some(1));
    let disabled = store.template(1, "a".into(), Some(2)).await.unwrap().unwrap();
    assert_eq!(disabled.disabled_at, Some(T0));
    assert_eq!(
        store.put_template(template(1, "a", "two")).await.unwrap(),
        kept(3, true),
        "the same, enabled"
    );
    assert!(store.disable_template(1, "a".into(), 2, None).await.unwrap());
    for version in 1..=3 {
        store.disable_template(1, "a".into(), version, Some(T0)).await.unwrap();
    }
    assert_eq!(newest().await, None);
    assert!(store.templates(1, String::new(), 9).await.unwrap().is_empty());
    assert!(!store.disable_template(1, "a".into(), 9, None).await.unwrap());
}

pub async fn a_tenants_own_template_wins_over_everybodys(store: Arc<dyn Store>) {
    store.put_template(template(EVERYBODY, "a", "all")).await.unwrap();
    store.put_template(template(EVERYBODY, "b", "all")).await.unwrap();
    store.put_template(template(1, "b", "own")).await.unwrap();
    store.put_template(template(1, "c", "own")).await.unwrap();
    assert_eq!(store.put_template(template(1, "d", "x")).await.unwrap(), PutTemplate::TooManyNames);
    let names = async |tenant, after: &str, limit| -> Vec<(String, String)> {
        let rows = store.templates(tenant, after.to_owned(), limit).await.unwrap();
        rows.into_iter().map(|row| (row.name, row.definition.to_string())).collect()
    };
    let pair = |name: &str, definition: &str| (name.to_owned(), definition.to_owned());
    assert_eq!(names(1, "", 9).await, [pair("a", "all"), pair("b", "own"), pair("c", "own")]);
    assert_eq!(names(1, "a", 1).await, [pair("b", "own")]);
    assert_eq!(names(2, "", 9).await, [pair("a", "all"), pair("b", "all")]);
    assert!(store.delete_template(1, "b".into()).await.unwrap());
    assert!(!store.delete_template(1, "b".into()).await.unwrap());
    assert_eq!(&*store.template(1, "b".into(), None).await.unwrap().unwrap().definition, "all");
}
