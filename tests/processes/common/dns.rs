//! A DNS client, one query over UDP with a client's subnet, and a name server whose answers a test changes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::opt::{ClientSubnet, EdnsOption};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::net;

/// The answer for a client of this address; `None` if there is none within a second.
pub(crate) fn ask(server: SocketAddr, name: &str, kind: RecordType, client: &str) -> Option<Message> {
    let mut query = Message::new(rand::random(), MessageType::Query, OpCode::Query);
    query.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    let mut edns = Edns::new();
    edns.set_max_payload(1_232);
    let subnet = ClientSubnet::new(client.parse().unwrap(), 24, 0);
    edns.options_mut().insert(EdnsOption::Subnet(subnet));
    query.edns = Some(edns);
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    socket.send_to(&query.to_vec().unwrap(), server).unwrap();
    let mut bytes = [0; 4_096];
    let length = socket.recv(&mut bytes).ok()?;
    let answer = Message::from_vec(&bytes[..length]).unwrap();
    assert_eq!(answer.metadata.id, query.metadata.id);
    Some(answer)
}

/// The IPv4 addresses for a client.
pub(crate) fn addresses(server: SocketAddr, name: &str, client: &str) -> Vec<IpAddr> {
    let answer = ask(server, name, RecordType::A, client);
    let records = answer.map(|answer| answer.answers).unwrap_or_default();
    let address = |data: &RData| if let RData::A(address) = data { Some(IpAddr::V4(address.0)) } else { None };
    records.iter().filter_map(|record| address(&record.data)).collect()
}

/// A name server over UDP that gives every name the same address, or none.
pub(crate) struct NameServer {
    pub(crate) address: SocketAddr,
    answer: Arc<Mutex<Option<Ipv4Addr>>>,
}

impl NameServer {
    pub(crate) fn start(answer: Ipv4Addr) -> NameServer {
        let socket = UdpSocket::bind(net::free(net::address(), 1)[0]).unwrap();
        let (address, answer) = (socket.local_addr().unwrap(), Arc::new(Mutex::new(Some(answer))));
        let server = NameServer { address, answer: Arc::clone(&answer) };
        // The thread ends with the test's process.
        std::thread::spawn(move || {
            let mut bytes = [0; 4_096];
            while let Ok((length, client)) = socket.recv_from(&mut bytes) {
                let Ok(query) = Message::from_vec(&bytes[..length]) else { continue };
                let mut reply = Message::new(query.metadata.id, MessageType::Response, OpCode::Query);
                reply.metadata.response_code = ResponseCode::NXDomain;
                for asked in &query.queries {
                    reply.add_query(asked.clone());
                    if let Some(address) = *answer.lock().unwrap() {
                        reply.metadata.response_code = ResponseCode::NoError;
                        if asked.query_type() == RecordType::A {
                            reply.add_answer(Record::from_rdata(asked.name().clone(), 1, RData::A(address.into())));
                        }
                    }
                }
                let _ = socket.send_to(&reply.to_vec().unwrap(), client);
            }
        });
        server
    }

    /// The answer from now on; `None` for a name that does not exist.
    pub(crate) fn answers(&self, answer: Option<Ipv4Addr>) {
        *self.answer.lock().unwrap() = answer;
    }
}
