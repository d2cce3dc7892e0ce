//! Asks a router's DNS as the resolver of a client does, with the client's network (EDNS Client Subnet, RFC 7871).
//!
//! `hickory-resolver` was passed over: it sends no client subnet, and it caches, while a drill looks at the very answer.
//! The messages are `hickory-proto`'s.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context as _;
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::opt::{ClientSubnet, EdnsOption};
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::net::UdpSocket;

/// How long a name server may take.
const LIMIT: Duration = Duration::from_millis(800);

/// Largest answer over UDP (DNS flag day 2020).
const LARGEST: u16 = 1_232;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resolved {
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) ttl: Duration,
}

/// Asks one name server where a client finds the service.
pub(crate) async fn resolve(server: SocketAddr, service: &str, client: IpAddr) -> anyhow::Result<Resolved> {
    let (kind, prefix) = if client.is_ipv4() { (RecordType::A, 24) } else { (RecordType::AAAA, 56) };
    let mut query = Message::new(rand::random(), MessageType::Query, OpCode::Query);
    query.add_query(Query::query(Name::from_ascii(service)?, kind));
    let mut edns = Edns::new();
    edns.set_max_payload(LARGEST);
    edns.options_mut().insert(EdnsOption::Subnet(ClientSubnet::new(client, prefix, 0)));
    query.edns = Some(edns);
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(&query.to_vec()?).await?;
    let mut bytes = [0; LARGEST as usize];
    let received = async {
        loop {
            let length = socket.recv(&mut bytes).await?;
            // Another message is a late answer to another question, or not from the name server at all.
            if let Some(answer) =
                Message::from_vec(&bytes[..length]).ok().filter(|it| it.metadata.id == query.metadata.id)
            {
                return anyhow::Ok(answer);
            }
        }
    };
    let answer = tokio::time::timeout(LIMIT, received).await.with_context(|| format!("{server} does not answer"))??;
    let mut resolved = Resolved { addresses: Vec::new(), ttl: Duration::MAX };
    for record in &answer.answers {
        match &record.data {
            RData::A(address) => resolved.addresses.push(address.0.into()),
            RData::AAAA(address) => resolved.addresses.push(address.0.into()),
            _ => continue,
        }
        resolved.ttl = resolved.ttl.min(Duration::from_secs(record.ttl.into()));
    }
    anyhow::ensure!(!resolved.addresses.is_empty(), "{server} answers no address for {service}");
    Ok(resolved)
}
