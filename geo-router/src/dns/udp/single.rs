//! One datagram per system call, for systems without batch calls.

use std::io;
use std::net::UdpSocket;

use super::{Failures, LONGEST_QUERY, Worker};

/// Receives and answers one query at a time, until `stop` is true.
pub(super) fn serve(socket: &UdpSocket, worker: &mut Worker) -> io::Result<()> {
    let mut query = [0; LONGEST_QUERY];
    let mut answer = Vec::new();
    let mut failures = Failures::default();
    while worker.tick() {
        match socket.recv_from(&mut query) {
            Ok((length, from)) => {
                failures.success();
                if worker.answer(&query[..length], from, &mut answer) && socket.send_to(&answer, from).is_err() {
                    worker.unsent();
                }
            }
            Err(error) => failures.failure(error)?,
        }
    }
    Ok(())
}
