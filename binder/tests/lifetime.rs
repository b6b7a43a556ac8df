//! Tests the holds of a lazy service's process. `tests/vm_lazy.rs` tests their effects.

use binder_shim::Lifetime;
use rsbinder::lazy_service::LazyServiceRegistrar;

#[test]
fn lazy_process_is_held_until_the_last_hold_is_gone_and_a_resident_one_never() {
    let is_held = || LazyServiceRegistrar::instance().is_force_persisted();
    let _none = Lifetime::Resident.hold();
    assert!(!is_held());
    for _ in 0..2 {
        let first = Lifetime::Lazy.hold();
        assert!(is_held());
        let second = Lifetime::Lazy.hold();
        drop(first);
        assert!(is_held(), "the second is left");
        drop(second);
        assert!(!is_held());
    }
}
