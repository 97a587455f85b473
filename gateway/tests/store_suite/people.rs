//! Tenants and keys.

use std::sync::Arc;

use gateway::store::{NewKey, Scope, Store};

use super::builders::T0;

pub fn new_key(id: &str, tenant: &str) -> NewKey {
    NewKey {
        id: id.into(),
        hash: *blake3::hash(id.as_bytes()).as_bytes(),
        prefix: format!("dk_{id}"),
        tenant: tenant.into(),
        weight: 2,
        concurrency: u32::MAX,
        scope: Scope::Submit,
        created_at: T0,
    }
}

pub async fn a_key_makes_its_tenant_once(store: Arc<dyn Store>) {
    let first = store.put_key(new_key("a", "club")).await.unwrap();
    let second = store.put_key(NewKey { weight: 9, ..new_key("b", "club") }).await.unwrap();
    assert_eq!((first.tenant.name.as_str(), first.tenant.weight), ("club", 2));
    assert_eq!(second.tenant, first.tenant);
    let names =
        async || store.tenants().await.unwrap().into_iter().map(|tenant| tenant.name).collect::<Vec<_>>();
    assert_eq!(names().await, ["default", "club"], "everybody's own tenant is there from the start");
    assert_eq!(store.keys().await.unwrap(), [first, second]);
    assert!(store.put_key(new_key("a", "other")).await.is_err(), "an id is used once");
    assert_eq!(names().await.len(), 2);
}

pub async fn a_key_is_revoked_by_id_or_prefix_and_stays_revoked(store: Arc<dyn Store>) {
    store.put_key(new_key("a", "club")).await.unwrap();
    store.put_key(new_key("b", "club")).await.unwrap();
    assert!(store.revoke_key("a".into(), T0 + 1).await.unwrap());
    assert!(store.revoke_key("dk_b".into(), T0 + 2).await.unwrap());
    assert!(store.revoke_key("a".into(), T0 + 3).await.unwrap());
    assert!(!store.revoke_key("c".into(), T0 + 3).await.unwrap());
    let revoked: Vec<_> = store.keys().await.unwrap().into_iter().map(|key| key.revoked_at).collect();
    assert_eq!(revoked, [Some(T0 + 1), Some(T0 + 2)]);
}
