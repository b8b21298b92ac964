//! Values that are made of shared data once, and kept with it.

use std::{any::Any, sync::OnceLock};

/// Values by their types, one node per type, only ever appended to. A list, not a map, because there are one to three,
/// and reading it takes no lock.
#[derive(Default)]
pub(crate) struct Derived(OnceLock<Box<DerivedNode>>);

/// `cell` is an `OnceLock<T>`: its type is the key, so that a look-up is a down-cast per node.
struct DerivedNode {
    cell: Box<dyn Any + Send + Sync>,
    next: Derived,
}

impl Derived {
    /// Returns the value of this type, made by the first call.
    pub(crate) fn get_or_make<T: Any + Send + Sync>(&self, make: impl FnOnce() -> T) -> &T {
        let mut list = self;
        loop {
            let node = list.0.get_or_init(DerivedNode::new::<T>);
            if let Some(cell) = node.cell.downcast_ref::<OnceLock<T>>() {
                return cell.get_or_init(make);
            }
            list = &node.next;
        }
    }
}

impl DerivedNode {
    fn new<T: Any + Send + Sync>() -> Box<Self> {
        Box::new(Self { cell: Box::new(OnceLock::<T>::new()), next: Derived::default() })
    }
}
