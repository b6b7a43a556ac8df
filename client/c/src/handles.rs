//! The objects that C code holds, by the numbers that it knows them by.
//!
//! A handle looks like a pointer to C, so that a compiler tells the types apart. It is no address:
//! this table finds the object. So a handle that is null, freed, freed twice, of another type or
//! invented is an error, and a call keeps its object alive while another thread frees the handle.

use crate::error::Error;
use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

struct Table {
    last: usize,
    live: BTreeMap<usize, Arc<dyn Any + Send + Sync>>,
}

static TABLE: RwLock<Table> = RwLock::new(Table { last: 0, live: BTreeMap::new() });

/// A handle for `object`, until [`remove`] is called with it.
pub fn insert<T: Any + Send + Sync>(object: T) -> *mut T {
    let mut table = TABLE.write().unwrap_or_else(PoisonError::into_inner);
    // A number comes back only when all others have been used.
    loop {
        table.last = table.last.wrapping_add(1);
        let number = table.last;
        if number != 0 && !table.live.contains_key(&number) {
            table.live.insert(number, Arc::new(object));
            return number as *mut T;
        }
    }
}

/// The object of a handle. The error calls it `name`.
pub fn get<T: Any + Send + Sync>(name: &str, handle: *const T) -> Result<Arc<T>, Error> {
    if handle.is_null() {
        return Err(Error::invalid(format_args!("{name}: NULL")));
    }
    let table = TABLE.read().unwrap_or_else(PoisonError::into_inner);
    let object = table.live.get(&(handle as usize)).cloned();
    let object = object.and_then(|object| object.downcast().ok());
    object.ok_or_else(|| {
        Error::invalid(format_args!("{name}: not a handle of this type, or already freed"))
    })
}

/// Ends a handle, and returns its object; `None` if there is none of this type.
pub fn remove<T: Any + Send + Sync>(handle: *const T) -> Option<Arc<T>> {
    let mut table = TABLE.write().unwrap_or_else(PoisonError::into_inner);
    let object = table.live.get(&(handle as usize)).cloned()?.downcast().ok()?;
    table.live.remove(&(handle as usize));
    // The caller drops it, after the lock.
    Some(object)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ptr;

    fn refused<T: Any + Send + Sync>(handle: *const T) -> String {
        let error = get("it", handle).map(drop).expect_err("no object");
        error.message.into_string().expect("text")
    }

    #[test]
    fn only_a_live_handle_of_its_own_type_finds_its_object() {
        let number = insert(7_u32);
        assert_eq!(get("it", number).map(|it| *it).expect("the object"), 7);
        let dead = "it: not a handle of this type, or already freed";
        assert_eq!(refused(number.cast::<String>()), dead);
        assert!(remove(number.cast::<String>()).is_none());
        assert_eq!(refused(ptr::null::<u32>()), "it: NULL");
        assert_eq!(refused(ptr::from_ref(&7_u32)), dead);
        assert_eq!(remove(number).as_deref(), Some(&7));
        assert_eq!(refused(number), dead);
        assert!(remove(number).is_none());
        let next = insert(8_u32);
        assert_ne!(next, number);
        assert_eq!(refused(number), dead);
        remove(next);
    }

    #[test]
    fn object_lives_while_a_call_uses_it() {
        let handle = insert(String::from("alive"));
        let used = get("it", handle).expect("the object");
        drop(remove(handle));
        assert_eq!(*used, "alive");
    }
}
