//! A TCP proxy in the way of one replication link, so that the link can be cut without the right to touch the network.
//!
//! A cut loses everything without a word, as a broken network does: connections stay open and nothing comes through,
//! new ones are taken and stay silent. What was lost cannot be made up for, so once healed such a connection is reset.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often a thread that waits for bytes looks whether the link was cut or healed.
const LOOK: Duration = Duration::from_millis(20);

/// One link's proxy; ends when dropped.
pub struct Proxy {
    state: Arc<State>,
    address: SocketAddr,
}

struct State {
    target: SocketAddr,
    cut: AtomicBool,
    over: AtomicBool,
}

impl Proxy {
    /// Forwards connections to `listener` on to `target`.
    pub fn start(listener: TcpListener, target: SocketAddr) -> Proxy {
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State { target, cut: AtomicBool::new(false), over: AtomicBool::new(false) });
        let serving = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if serving.over.load(Ordering::SeqCst) {
                    return;
                }
                let state = serving.clone();
                std::thread::spawn(move || state.carry(&stream));
            }
        });
        Proxy { state, address }
    }

    /// Cuts or heals the link. What a peer said before a cut and had not arrived by then is lost.
    pub fn set_cut(&self, cut: bool) {
        self.state.cut.store(cut, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts; if it is gone already there is nothing to wake.
        let _ = TcpStream::connect(self.address);
    }
}

impl State {
    /// Carries one connection to its end.
    fn carry(&self, near: &TcpStream) {
        // Who dials into a cut is heard by nobody, and must dial again once it is healed.
        if self.is_cut() {
            while self.is_cut() {
                std::thread::sleep(LOOK);
            }
            return;
        }
        let Ok(far) = TcpStream::connect(self.target) else { return };
        std::thread::scope(|scope| {
            scope.spawn(|| self.copy(near, &far));
            self.copy(&far, near);
        });
    }

    fn is_cut(&self) -> bool {
        self.cut.load(Ordering::SeqCst) && !self.over.load(Ordering::SeqCst)
    }

    /// Copies one direction until either end closes, or a cut in which bytes were lost has healed.
    fn copy(&self, mut from: &TcpStream, mut to: &TcpStream) {
        let mut bytes = [0; 64 * 1024];
        let mut was_cut = false;
        let ready = from.set_read_timeout(Some(LOOK)).and(to.set_nodelay(true));
        while ready.is_ok() && !self.over.load(Ordering::SeqCst) {
            let cut = self.is_cut();
            was_cut |= cut;
            if was_cut && !cut {
                break;
            }
            let read = from.read(&mut bytes);
            match read {
                Ok(0) => break,
                // Asked again: what was read since the cut is lost, and nothing may follow what was lost.
                Ok(n) if !was_cut && !self.is_cut() => {
                    if to.write_all(&bytes[..n]).is_err() {
                        break;
                    }
                }
                Ok(_) => was_cut = true,
                Err(error) if is_timeout(&error) => {}
                Err(_) => break,
            }
        }
        // Either may be closed already.
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    }
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
}
