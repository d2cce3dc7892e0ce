//! A gdnsd with the same zone and the same networks, if it is installed (Debian package `gdnsd`).

use std::fmt::Write as _;
use std::fs;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::world::{EU, NETWORKS, REGIONS};

/// A gdnsd that ends when this is dropped.
pub(crate) struct Gdnsd {
    pub address: SocketAddr,
    child: Child,
    _folder: tempfile::TempDir,
}

impl Drop for Gdnsd {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that is free for UDP and TCP, below those that the system gives to outgoing connections (32768 on Linux).
fn free() -> SocketAddr {
    let first = 10_240 + u16::try_from(std::process::id() % 20_000).unwrap();
    let mut ports = (first..32_768).chain(10_240..first).map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    ports.find(|at| UdpSocket::bind(at).is_ok() && TcpListener::bind(at).is_ok()).unwrap()
}

/// `None` if it is not installed.
pub(crate) fn start() -> Option<Gdnsd> {
    let program =
        ["/usr/sbin/gdnsd", "/usr/local/sbin/gdnsd"].into_iter().find(|path| fs::exists(path).unwrap_or(false))?;
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for name in ["conf/zones", "conf/geoip", "run", "state"] {
        fs::create_dir_all(at(name)).unwrap();
    }
    let address = free();
    let mut regions = String::new();
    for (at, region) in REGIONS.iter().enumerate() {
        let (first, second) = (16 * (at + 1) + 1, 16 * (at + 1) + 2);
        let (v4, v6) = (format!("a = 192.0.2.{first}, b = 192.0.2.{second}"), at + 1);
        let v6 = format!("a = \"2001:db8::{v6}:1\", b = \"2001:db8::{v6}:2\"");
        writeln!(regions, "{region} => {{ addrs_v4 => {{ {v4} }}, addrs_v6 => {{ {v6} }} }}").unwrap();
    }
    let config = format!(
        "options => {{ listen => {{ {address} => {{ udp_threads = 1, tcp_threads = 1 }} }}
           run_dir = \"{run}\" state_dir = \"{state}\" }}
         plugins => {{ geoip => {{
           maps => {{ world => {{ datacenters => [ {all} ], nets = nets }} }}
           resources => {{ checkin => {{ map => world, service_types => up, dcmap => {{ {regions} }} }} }} }} }}",
        run = at("run").display(),
        state = at("state").display(),
        all = REGIONS.join(", "),
    );
    fs::write(at("conf/config"), config).unwrap();
    let mut nets = String::new();
    for (network, region) in NETWORKS {
        // gdnsd refuses networks on this machine; they get the first region of its list anyway.
        if region != EU {
            let others: Vec<&str> = REGIONS.into_iter().filter(|other| *other != REGIONS[region]).collect();
            writeln!(nets, "{network} => [ {}, {} ]", REGIONS[region], others.join(", ")).unwrap();
        }
    }
    fs::write(at("conf/geoip/nets"), nets).unwrap();
    let mut zone = "@ SOA ns1 hostmaster 1 3600 600 604800 5\n@ NS ns1\nns1 A 192.0.2.53\nns1 AAAA 2001:db8::53\n\
                    checkin 30 DYNA geoip!checkin\n"
        .to_owned();
    for region in REGIONS {
        writeln!(zone, "{region}.checkin 30 DYNA geoip!checkin/{region}").unwrap();
    }
    fs::write(at("conf/zones/meridian.test"), zone).unwrap();
    let log = fs::File::create(at("log")).unwrap();
    let child = Command::new(program)
        .arg("-c")
        .arg(at("conf"))
        .arg("start")
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    let mut gdnsd = Gdnsd { address, child, _folder: folder };
    let started = Instant::now();
    while !answers(address) {
        let ended = gdnsd.child.try_wait().unwrap();
        let log = fs::read_to_string(gdnsd._folder.path().join("log")).unwrap();
        assert!(ended.is_none() && started.elapsed() < Duration::from_secs(30), "gdnsd does not answer:\n{log}");
    }
    Some(gdnsd)
}

fn answers(address: SocketAddr) -> bool {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    socket.connect(address).unwrap();
    let query = crate::craft::plain("checkin.meridian.test", crate::craft::A);
    // The send is refused until gdnsd listens.
    socket.send(&query).is_ok() && socket.recv(&mut [0; 512]).is_ok_and(|length| length > 12)
}
