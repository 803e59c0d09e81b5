//! The same work on numbered pieces, on all processors.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

/// Works on the pieces from 0 to `count`, in order, with what `own` makes for each thread, until one fails. Pieces are
/// taken in order, so the failure that is told is of the first piece that has one.
pub(super) fn each<T, E: Send>(
    count: u64,
    own: impl Fn() -> T + Sync,
    work: impl Fn(&mut T, u64) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let failures: Mutex<Vec<(u64, E)>> = Mutex::new(Vec::new());
    let thread = || {
        let mut own = own();
        while !stop.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return;
            }
            if let Err(failure) = work(&mut own, number) {
                stop.store(true, Ordering::Relaxed);
                failures.lock().unwrap_or_else(PoisonError::into_inner).push((number, failure));
                return;
            }
        }
    };
    let threads = processors().min(usize::try_from(count).unwrap_or(usize::MAX));
    thread::scope(|scope| {
        for _ in 1..threads {
            // One that cannot be had is not missed: this thread does all that is left.
            let _ = thread::Builder::new().spawn_scoped(scope, thread);
        }
        thread();
    });
    let failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    match failures.into_iter().min_by_key(|(number, _)| *number) {
        Some((_, failure)) => Err(failure),
        None => Ok(()),
    }
}

/// How many threads work at once, at most.
pub(super) fn processors() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}
