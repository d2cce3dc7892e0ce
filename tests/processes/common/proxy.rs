//! A TCP proxy in one replication link, so that a test without network rights can cut the link.
//!
//! A cut drops everything silently, as a broken network does: connections stay open without data, and new ones are
//! accepted and stay silent. The lost bytes cannot be recovered, so such a connection is reset once the link is healed.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often a thread that waits for bytes checks whether the link was cut or healed.
const LOOK: Duration = Duration::from_millis(20);

/// One link's proxy; ends when dropped.
pub(crate) struct Proxy {
    state: Arc<State>,
    address: SocketAddr,
}

struct State {
    target: SocketAddr,
    cut: AtomicBool,
    over: AtomicBool,
}

impl Proxy {
    /// Forwards connections from `listener` to `target`.
    pub(crate) fn start(listener: TcpListener, target: SocketAddr) -> Proxy {
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

    /// Cuts or heals the link. Bytes of a peer that had not arrived before a cut are lost.
    pub(crate) fn set_cut(&self, cut: bool) {
        self.state.cut.store(cut, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts; an error means that it is gone.
        let _ = TcpStream::connect(self.address);
    }
}

impl State {
    /// Carries one connection to its end.
    fn carry(&self, near: &TcpStream) {
        // A peer that dials into a cut gets no answer, and must dial again once the link is healed.
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
                // Checked again, because the bytes that were read since the cut are lost, and nothing may follow lost
                // bytes.
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
        // Either side may be closed already.
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    }
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
}
