//! Work on a damaged file: redb panics where a page is not what it must be, and says nothing of the file.

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook},
    sync::Once,
};

thread_local! {
    /// True while this thread works on the file, so that a panic is told as an error.
    static IS_GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Carries out work on the file. Returns `None` if it panicked; nothing is printed of that.
pub(super) fn guarded<T>(work: impl FnOnce() -> T) -> Option<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            if !IS_GUARDED.get() {
                before(panic);
            }
        }));
    });
    let outer = IS_GUARDED.replace(true);
    let done = catch_unwind(AssertUnwindSafe(work)).ok();
    IS_GUARDED.set(outer);
    done
}
