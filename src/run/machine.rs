//! What the machine says of itself besides its devices, and the end of its run.

use std::{
    io,
    path::Path,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::{
    format::{
        disk::guid::{Guid, NotAGuid},
        kernel::mount_options::MountOptions,
    },
    plan::intent::EmergencyAction,
    sys::{
        self,
        file::{self, LONGEST_TEXT, whole_at},
        module,
        mount::{self, CreateError},
        reboot::{self, Action},
        uevent,
    },
};

/// A file of the kernel or of the initramfs that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("read {path}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A kernel call.
    #[error(transparent)]
    Call(#[from] sys::Error),
    /// EFI variables are not there.
    #[error(
        "read the EFI variable {LOADER_PARTITION}: root=gpt-auto and root=dissect need an EFI boot loader that says which partition it came from (systemd-boot does); name the root with root= instead"
    )]
    Efi(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Written by boot loaders (systemd's BOOT_LOADER_INTERFACE), with their vendor's GUID.
const LOADER_PARTITION: &str = "LoaderDevicePartUUID-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
/// Its features, a bit each (systemd's src/fundamental/efivars-fundamental.h, `EFI_LOADER_FEATURE_BOOT_COUNTING`).
const LOADER_FEATURES: &str = "LoaderFeatures-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
const COUNTS: u64 = 1 << 4;
const EFIVARS: &str = "/sys/firmware/efi/efivars";

/// From here on a wish to end (SIGHUP, SIGINT, SIGTERM) makes the next step fail, and what was done is undone.
#[cfg(feature = "cli")]
pub fn end_by_asking() -> Result<(), Error> {
    Ok(sys::termination::end_by_asking()?)
}

/// Whether such a wish came.
#[cfg(feature = "cli")]
#[must_use]
pub fn is_to_end() -> bool {
    sys::termination::is_to_end()
}

/// The kernel command line.
pub fn command_line() -> Result<String, Error> {
    read("/proc/cmdline").map(Option::unwrap_or_default)
}

/// The text of a regular file of [`LONGEST_TEXT`] at most; `None` where there is no such file. What is not UTF-8 is
/// replaced, and then refused by whoever reads it.
pub fn read(path: &str) -> Result<Option<String>, Error> {
    text(path, whole_at(Path::new(path), LONGEST_TEXT))
}

/// The same of a file of any kind that somebody named: a pipe is read as well.
pub fn read_named(path: &str) -> Result<Option<String>, Error> {
    text(path, file::named(Path::new(path), LONGEST_TEXT))
}

fn text(path: &str, read: io::Result<Vec<u8>>) -> Result<Option<String>, Error> {
    match read {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Read { path: path.to_owned(), source }),
    }
}

/// Whether this is an initramfs: it has an /etc/initrd-release (os-release(5)).
#[must_use]
pub fn is_initrd() -> bool {
    Path::new("/etc/initrd-release").exists()
}

/// Whether this process may do what only root may.
#[must_use]
pub fn is_root() -> bool {
    sys::process::is_root()
}

/// The running kernel's release.
#[must_use]
pub fn kernel_release() -> String {
    sys::kernel::release()
}

/// Time since the kernel began to count.
#[must_use]
pub fn since_boot() -> Duration {
    sys::kernel::since_boot()
}

/// Time by the clock of systemd's time stamps, CLOCK_MONOTONIC.
#[must_use]
pub fn monotonic() -> Duration {
    sys::kernel::monotonic()
}

/// The same, in microseconds.
#[must_use]
pub fn monotonic_us() -> u64 {
    u64::try_from(monotonic().as_micros()).unwrap_or(u64::MAX)
}

/// Seconds since 1970, as far as this machine knows.
#[must_use]
pub fn clock() -> u64 {
    since_1970().as_secs()
}

/// The same, when it was that time by CLOCK_MONOTONIC, where the clock was not set since.
#[must_use]
pub fn clock_at(moment: Duration) -> u64 {
    since_1970().saturating_sub(monotonic().saturating_sub(moment)).as_secs()
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Lets the kernel ask `program` for modules; gives the program that it asked before.
pub fn take_module_requests(program: &str) -> Result<String, Error> {
    let before = module::helper()?;
    if before != program {
        module::set_helper(program)?;
    }
    Ok(before)
}

/// Lets it ask the program from before again. Not fatal: the real root's udev loads modules itself.
pub fn give_module_requests_back(program: &str) {
    let _ = module::set_helper(program);
}

/// The partition that the boot loader was started from.
pub fn loader_partition() -> Result<Option<Guid>, Error> {
    let at = Path::new(EFIVARS);
    let made = mount::create("efivarfs", None, &MountOptions::parse("ro,nosuid,nodev,noexec"));
    made.map_err(|e: CreateError| Error::Efi(e.into()))?.attach(at)?;
    let read = whole_at(&at.join(LOADER_PARTITION), LONGEST_TEXT);
    mount::unmount(at)?;
    let bytes = read.map_err(|e| Error::Efi(e.into()))?;
    named(&bytes).map(Some).map_err(|e| Error::Efi(e.into()))
}

/// The same in a running system, where systemd has mounted the variables; `None` where there are none, where they cannot be read, or
/// where the boot loader does not say so.
#[must_use]
pub fn known_loader_partition() -> Option<Guid> {
    named(&variable(LOADER_PARTITION)?).ok()
}

/// The same of a boot loader that counts tries.
#[must_use]
pub fn counting_loader() -> Option<Guid> {
    counts(&variable(LOADER_FEATURES)?).then(known_loader_partition).flatten()
}

fn variable(name: &str) -> Option<Vec<u8>> {
    whole_at(&Path::new(EFIVARS).join(name), LONGEST_TEXT).ok()
}

/// Whether a boot loader's features, behind four bytes of attributes, have the one that it counts.
fn counts(features: &[u8]) -> bool {
    let bits = features.get(4..).and_then(|bytes| bytes.first_chunk()).copied().map(u64::from_le_bytes);
    bits.is_some_and(|bits| bits & COUNTS != 0)
}

/// The GUID in a variable: four bytes of attributes, then UTF-16 text that ends with a zero.
fn named(bytes: &[u8]) -> Result<Guid, NotAGuid> {
    let (pairs, _) = bytes.get(4..).unwrap_or_default().as_chunks::<2>();
    let text: Vec<u16> =
        pairs.iter().map(|pair| u16::from_le_bytes(*pair)).take_while(|unit| *unit != 0).collect();
    String::from_utf16_lossy(&text).parse()
}

/// Does nothing for a while.
pub fn pause(time: Duration) {
    // Nothing can be done about a pause that is too short.
    let _ = uevent::wait(&[], Some(time));
}

/// How long the end of the machine's run waits for what is to be written out.
const PATIENCE: Duration = Duration::from_secs(30);

/// A kernel call that may take for ever, as a disk that does not answer holds up whoever asks it.
pub type Call = Box<dyn FnOnce() -> Result<(), sys::Error> + Send>;

/// Makes it, or several, in a thread of its own, which is left behind where it takes longer: `None` then.
///
/// Errors: there can be no further thread.
pub fn in_time<T: Send + 'static>(
    patience: Duration,
    call: impl FnOnce() -> T + Send + 'static,
) -> io::Result<Option<T>> {
    // A channel does the same, and takes 10 KiB of an init.
    let done = Arc::new((Mutex::new(None), Condvar::new()));
    let told = Arc::clone(&done);
    thread::Builder::new().spawn(move || {
        let result = call();
        *told.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        told.1.notify_one();
    })?;
    let result = done.0.lock().unwrap_or_else(PoisonError::into_inner);
    let waited = done.1.wait_timeout_while(result, patience, |result| result.is_none());
    Ok(waited.unwrap_or_else(PoisonError::into_inner).0.take())
}

/// Writes out what is in memory, as far as the disks answer in that time.
pub fn write_out(patience: Duration) {
    let write: Call = Box::new(|| {
        reboot::sync();
        Ok(())
    });
    let _ = in_time(patience, write);
}

/// Ends the machine's run; returns only where the kernel refuses. What is in memory is written out first, as far as the
/// disks answer.
pub fn end(action: EmergencyAction) -> sys::Error {
    write_out(PATIENCE);
    reboot::now(match action {
        EmergencyAction::Reboot => Action::Reboot,
        EmergencyAction::Poweroff => Action::PowerOff,
        EmergencyAction::Halt => Action::Halt,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hangs_is_not_waited_for() {
        let (keep, hangs) = std::sync::mpsc::channel::<()>();
        let limit = Duration::from_millis(50);
        assert_eq!(in_time(limit, move || hangs.recv().is_ok()).unwrap(), None);
        drop(keep);
        assert_eq!(in_time(Duration::from_secs(30), || 7).unwrap(), Some(7));
    }

    #[test]
    fn what_a_boot_loader_says_of_itself() {
        let attributes = [6, 0, 0, 0];
        let features = |bits: u64| counts(&[&attributes[..], &bits.to_le_bytes()].concat());
        assert_eq!(
            [features(0x3fff), features(1 << 4), features(0xf), counts(&[0; 11]), counts(&[])],
            [true, true, false, false, false]
        );
        let text = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B";
        let units: Vec<u8> = text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
        let guid = named(&[&attributes[..], &units].concat()).unwrap();
        assert_eq!(guid.to_string(), text.to_ascii_lowercase());
        assert!(named(&attributes).is_err());
    }
}
