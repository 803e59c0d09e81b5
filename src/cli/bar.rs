//! A progress bar on standard error, where a person looks at all that is printed and the work takes more than a moment.

use std::{
    io::{self, IsTerminal},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use nextroot::mode::verity::Bytes;

/// What is quicker shows no bar.
const MOMENT: Duration = Duration::from_millis(500);

/// A bar; it goes when this does.
pub(super) struct Bar {
    bar: ProgressBar,
    begun: Instant,
}

impl Bar {
    /// With a word for what is done.
    pub(super) fn new(what: &'static str) -> Self {
        // Where standard error is no terminal, it draws nothing by itself.
        let target = match io::stdout().is_terminal() {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(None, target);
        let style = ProgressStyle::with_template("{msg} {wide_bar} {bytes} of {total_bytes}, {eta} left");
        if let Ok(style) = style {
            bar.set_style(style);
        }
        bar.set_message(what);
        Self { bar, begun: Instant::now() }
    }

    /// What is to be told how far it is.
    pub(super) fn watch(&self) -> impl Fn(Bytes, Bytes) + Sync {
        |done, of| {
            if done >= of {
                self.bar.finish_and_clear();
            } else if self.begun.elapsed() > MOMENT {
                self.bar.set_length(of.0);
                self.bar.set_position(done.0);
            }
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
