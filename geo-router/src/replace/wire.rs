//! Messages and descriptors on a Unix socket.
//!
//! # Invariants
//! - A message is read to its last byte and not further, because the next byte may carry descriptors.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::UnixStream;

/// Descriptors that one byte carries; the kernel takes up to 253.
const TOGETHER: usize = 64;

/// A descriptor that another program of this process's user does not inherit by accident.
#[cfg(target_os = "linux")]
const FLAGS: RecvFlags = RecvFlags::CMSG_CLOEXEC;
#[cfg(not(target_os = "linux"))]
const FLAGS: RecvFlags = RecvFlags::empty();

/// Sends a message: its length as four bytes, then JSON.
pub(super) async fn send(stream: &mut UnixStream, message: &impl Serialize) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(&bytes).await
}

/// Reads a message of at most `limit` bytes.
pub(super) async fn read<T: DeserializeOwned>(stream: &mut UnixStream, limit: usize) -> io::Result<T> {
    let length = usize::try_from(stream.read_u32().await?).unwrap_or(usize::MAX);
    if length > limit {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the message is too long"));
    }
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await?;
    Ok(serde_json::from_slice(&bytes)?)
}

/// Sends descriptors.
pub(super) async fn send_descriptors(stream: &UnixStream, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    for some in descriptors.chunks(TOGETHER) {
        stream.async_io(Interest::WRITABLE, || send_some(stream, some)).await?;
    }
    Ok(())
}

fn send_some(stream: &UnixStream, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(TOGETHER))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::other("too many descriptors for one byte"));
    }
    sendmsg(stream.as_fd(), &[IoSlice::new(&[0])], &mut control, SendFlags::empty())?;
    Ok(())
}

/// Reads this number of descriptors.
pub(super) async fn read_descriptors(stream: &UnixStream, count: usize) -> io::Result<Vec<OwnedFd>> {
    let mut descriptors = Vec::new();
    while descriptors.len() < count {
        let some = stream.async_io(Interest::READABLE, || read_some(stream)).await?;
        if some.is_empty() || descriptors.len() + some.len() > count {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not as many descriptors as were announced"));
        }
        descriptors.extend(some);
    }
    Ok(descriptors)
}

fn read_some(stream: &UnixStream) -> io::Result<Vec<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(TOGETHER))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let read = recvmsg(stream.as_fd(), &mut [IoSliceMut::new(&mut byte)], &mut control, FLAGS)?;
    if read.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let rights = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    Ok(rights.flatten().collect())
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd as _;

    use tokio::net::UnixStream;

    use super::{TOGETHER, read, read_descriptors, send, send_descriptors};

    #[tokio::test]
    async fn messages_and_descriptors_keep_their_order() {
        let (mut one, mut two) = UnixStream::pair().unwrap();
        // More than one byte can carry.
        let sockets: Vec<UdpSocket> = (0..TOGETHER + 3).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
        let sending = async {
            send(&mut one, &"before").await.unwrap();
            let descriptors: Vec<_> = sockets.iter().map(|socket| socket.as_fd()).collect();
            send_descriptors(&one, &descriptors).await.unwrap();
            send(&mut one, &"after").await.unwrap();
        };
        let reading = async {
            assert_eq!(read::<String>(&mut two, 100).await.unwrap(), "before");
            let read_back = read_descriptors(&two, sockets.len()).await.unwrap();
            for (descriptor, socket) in read_back.into_iter().zip(&sockets) {
                assert_eq!(UdpSocket::from(descriptor).local_addr().unwrap(), socket.local_addr().unwrap());
            }
            assert_eq!(read::<String>(&mut two, 100).await.unwrap(), "after");
        };
        tokio::join!(sending, reading);
    }

    #[tokio::test]
    async fn too_much_and_too_little_are_refused() {
        let (mut one, mut two) = UnixStream::pair().unwrap();
        send(&mut one, &"longer than ten").await.unwrap();
        assert!(read::<String>(&mut two, 10).await.is_err());
        let (mut one, two) = UnixStream::pair().unwrap();
        // Bytes without descriptors.
        send(&mut one, &"x").await.unwrap();
        assert!(read_descriptors(&two, 1).await.is_err());
        drop(one);
        assert!(read_descriptors(&two, 1).await.is_err());
    }
}
