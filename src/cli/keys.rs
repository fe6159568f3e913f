//! The keys of a terminal, as the signals that they send, and what each is a wish for.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What somebody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Ctrl-C for the first time: the program is asked to stop, as at its own terminal.
    Interrupt,
    /// For the second time: the run is to end.
    Cancel,
    /// From then on: at once.
    Kill,
    /// Ctrl-\: leave, and let the run go on.
    Leave,
    /// SIGTERM: the same, but whoever sent it is not told that all went well.
    Terminate,
    /// The terminal is gone.
    HangUp,
}

/// Listens to the keys from when it is made. What they do by themselves, they do no more.
pub struct Keys {
    interrupt: Signal,
    quit: Signal,
    terminate: Signal,
    hang_up: Signal,
    interrupts: u32,
    put_back: Option<Wish>,
}

impl Keys {
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
            interrupts: 0,
            put_back: None,
        })
    }

    /// The next wish. Dropping the future loses none.
    pub async fn next(&mut self) -> Wish {
        if let Some(wish) = self.put_back.take() {
            return wish;
        }
        tokio::select! {
            _ = self.interrupt.recv() => {
                self.interrupts += 1;
                nth_interrupt(self.interrupts)
            }
            _ = self.quit.recv() => Wish::Leave,
            _ = self.terminate.recv() => Wish::Terminate,
            _ = self.hang_up.recv() => Wish::HangUp,
        }
    }

    /// What was interrupted is over; the next interrupt is a first one.
    pub fn forget_interrupts(&mut self) {
        self.interrupts = 0;
    }

    /// The wish could not be fulfilled yet; it will be the next one.
    pub fn put_back(&mut self, wish: Wish) {
        self.put_back = Some(wish);
    }
}

fn nth_interrupt(count: u32) -> Wish {
    match count {
        1 => Wish::Interrupt,
        2 => Wish::Cancel,
        _ => Wish::Kill,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_interrupt_asks_for_more() {
        assert_eq!([1, 2, 3, 4].map(nth_interrupt), [Wish::Interrupt, Wish::Cancel, Wish::Kill, Wish::Kill]);
    }
}
