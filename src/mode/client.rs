//! `nextroot probe`: a client that asks what `[Probe]` of nextroot.conf says while a soft reboot goes on, and writes down what it saw.

use std::{
    io,
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread,
    time::Duration,
};

use crate::{
    format::{
        config::probe::{Address, Probe},
        system::probe_log::Request,
    },
    plan::{client::Client, state::State},
    run::{
        configuration, execute, machine,
        soft_reboot::{client, client_unit, handover::chain, state::Store},
    },
};

/// Why it cannot ask.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Configuration.
    #[error(transparent)]
    Configuration(#[from] configuration::Error),
    /// Its log.
    #[error(transparent)]
    Log(#[from] client::Error),
    /// Its files.
    #[error(transparent)]
    Files(#[from] execute::Error),
    /// A thread.
    #[error("start a thread")]
    Thread(#[source] io::Error),
}

/// How often is looked whether it is done.
const BEAT: Duration = Duration::from_secs(1);

/// Starts it where there is anything to ask. That it cannot be started is no reason not to go on.
pub(super) fn start(probe: &Probe, mut tell: impl FnMut(&str)) {
    if probe.addresses.is_empty() {
        return;
    }
    if let Err(error) = client_unit::start() {
        tell(&format!(
            "warning: {}, ignoring: nextroot report --probe will have nothing to tell",
            chain(&error)
        ));
    }
}

/// The same by nextroot.conf. What is wrong with that was told when something was staged.
pub(super) fn start_configured(tell: impl FnMut(&str)) {
    if let Ok(config) = configuration::read(None) {
        start(&config.probe, tell);
    }
}

/// Ends it; where that fails it ends by itself, later.
pub(super) fn stop() {
    let _ = client_unit::stop();
}

/// Asks until it has seen enough.
pub fn run() -> Result<(), Error> {
    let Probe { addresses, interval, timeout_sec, .. } = configuration::read(None)?.probe;
    let mut log = client::Log::begin()?;
    let (sender, requests) = mpsc::channel();
    for address in addresses {
        let sender = sender.clone();
        let asks = move || asks(&address, interval, timeout_sec, &sender);
        thread::Builder::new().spawn(asks).map_err(Error::Thread)?;
    }
    drop(sender);
    let store = Store::default();
    // One that cannot be read tells nothing of a switch.
    let state = || -> Option<State> { store.load().ok() };
    let mut looked = machine::monotonic();
    let mut client = Client::new(looked, state().as_ref());
    loop {
        match requests.recv_timeout(BEAT) {
            Ok(request) => {
                client.saw(&request);
                if !log.add(&request)? {
                    break;
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        let now = machine::monotonic();
        if now.saturating_sub(looked) >= BEAT {
            looked = now;
            if client.is_done(now, state().as_ref()) {
                break;
            }
        }
    }
    Ok(client_unit::remove()?)
}

/// Asks one address for ever, or until nobody wants to know.
fn asks(address: &Address, interval: Duration, timeout_sec: u64, sender: &Sender<Request>) {
    loop {
        let request = client::ask(address, timeout_sec);
        let pause = interval.saturating_sub(request.took);
        if sender.send(request).is_err() {
            return;
        }
        machine::pause(pause);
    }
}
