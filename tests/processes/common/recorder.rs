//! A forwarder that keeps every byte that passes it, as someone on the network could.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::net;

/// A forwarder to one address. Its threads end with the test's process.
pub(crate) struct Recorder {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Recorder {
    pub(crate) fn start(target: SocketAddr) -> Recorder {
        let listener = TcpListener::bind(net::free(target.ip(), 1)[0]).unwrap();
        let recorder = Recorder { address: listener.local_addr().unwrap(), seen: Arc::default() };
        let seen = Arc::clone(&recorder.seen);
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                // A node that is down for a moment.
                let Ok(far) = TcpStream::connect(target) else { continue };
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (from, to, seen) = (from.try_clone().unwrap(), to.try_clone().unwrap(), Arc::clone(&seen));
                    std::thread::spawn(move || carry(from, to, &seen));
                }
            }
        });
        recorder
    }

    /// How often a text has passed, in either direction.
    pub(crate) fn saw(&self, text: &str) -> usize {
        memchr::memmem::find_iter(&self.seen.lock().unwrap(), text.as_bytes()).count()
    }

    /// How many bytes have passed.
    pub(crate) fn bytes(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, seen: &Mutex<Vec<u8>>) {
    let mut piece = [0; 16 * 1024];
    while let Ok(read) = from.read(&mut piece) {
        if read == 0 {
            break;
        }
        // Kept before it is passed on, so what an answer shows has been seen.
        seen.lock().unwrap().extend_from_slice(&piece[..read]);
        if to.write_all(&piece[..read]).is_err() {
            break;
        }
    }
    // Either side may be closed already.
    let _ = to.shutdown(Shutdown::Write);
}
