//! The same work on numbered pieces, on all processors.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

/// Bytes that all threads together hold, where one by itself does not hold more.
pub(super) const MEMORY: usize = 64 << 20;

/// Works on the pieces from 0 to `count`, in order, with what `own` makes for each thread, which has `each` bytes, until one
/// fails. Pieces are taken in order, so the failure that is told is of the first piece that has one.
pub(super) fn each<T, E: Send>(
    count: u64,
    each: usize,
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
    let threads = threads(each, processors()).min(usize::try_from(count).unwrap_or(usize::MAX));
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

/// How many threads with so many bytes may be at work.
fn threads(each: usize, processors: usize) -> usize {
    (MEMORY / each.max(1)).clamp(1, processors.max(1))
}

/// Bytes of one thread's share that are left beside what it needs anyway: a whole number of blocks of this size, one at least.
pub(super) fn share(beside: usize, block: usize, most: usize, processors: usize) -> usize {
    let share = (MEMORY / processors.max(1)).saturating_sub(beside).min(most);
    share.max(block) / block.max(1) * block
}

/// How many threads work at once, at most.
pub(super) fn processors() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each thread had as much, however many there were: of 1024 processors a quarter of a GiB was taken.
    #[test]
    fn memory_is_shared_by_all_processors() {
        for processors in [1, 2, 64, 255, 256, 1024, 1 << 20] {
            for block in [512, 4096, 64 << 10, 512 << 10] {
                let beside = 2 * block;
                let piece = share(beside, block, 256 << 10, processors);
                assert!(piece >= block && piece.is_multiple_of(block), "{processors} {block}");
                assert!(piece <= (256 << 10).max(block), "{processors} {block}");
                let threads = threads(piece + beside, processors);
                assert!((1..=processors).contains(&threads), "{processors} {block}");
                assert!(threads * (piece + beside) <= MEMORY, "{processors} {block}: {threads} of {piece}");
            }
        }
        assert_eq!((threads(4096, 4), threads(MEMORY, 4), threads(MEMORY + 1, 4)), (4, 1, 1));
        assert_eq!(share(8192, 4096, 256 << 10, 4), 256 << 10);
    }
}
