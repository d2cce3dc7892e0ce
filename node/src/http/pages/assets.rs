//! Styles, scripts and pictures: part of the binary, compressed once at the start of the process, under names that
//! change with their content, so that every cache may keep them for ever.
//!
//! gzip alone is offered, because every browser reads it and the largest asset has a few kilobytes.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::LazyLock;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH, VARY,
};
use hyper::{HeaderMap, StatusCode};
use sha2::{Digest, Sha256};

use super::super::call::Call;
use super::super::problem::{Kind, Problem};
use super::super::reply::{Reply, full, header};

/// Name, media type, content.
const FILES: [(&str, &str, &str); 4] = [
    ("style.css", "text/css; charset=utf-8", include_str!("../../../assets/style.css")),
    ("outbox.js", "text/javascript; charset=utf-8", include_str!("../../../assets/outbox.js")),
    ("page.js", "text/javascript; charset=utf-8", include_str!("../../../assets/page.js")),
    ("icon.svg", "image/svg+xml", include_str!("../../../assets/icon.svg")),
];

/// The service worker, which must lie at the root to see all pages. The addresses of the assets are filled in.
const WORKER: &str = include_str!("../../../assets/worker.js");

/// A file as it is sent.
struct Asset {
    media_type: &'static str,
    plain: Bytes,
    gzip: Bytes,
    etag: String,
}

impl Asset {
    fn new(media_type: &'static str, content: Vec<u8>) -> Asset {
        let etag = format!("\"{}\"", hash(&content));
        let gzip = compress(&content).unwrap_or_else(|_| content.clone());
        Asset { media_type, plain: content.into(), gzip: gzip.into(), etag }
    }

    fn reply(&self, headers: &HeaderMap, caching: &'static str) -> Reply {
        let known = headers.get(IF_NONE_MATCH).is_some_and(|value| value.as_bytes() == self.etag.as_bytes());
        let accepts = headers.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let gzip = accepts.split(',').any(|coding| coding.trim().split(';').next() == Some("gzip"));
        let mut reply = match (known, gzip) {
            (true, _) => full(StatusCode::NOT_MODIFIED, ""),
            (false, true) => full(StatusCode::OK, self.gzip.clone()),
            (false, false) => full(StatusCode::OK, self.plain.clone()),
        };
        let own = reply.headers_mut();
        own.insert(CONTENT_TYPE, HeaderValue::from_static(self.media_type));
        own.insert(CACHE_CONTROL, HeaderValue::from_static(caching));
        own.insert(VARY, HeaderValue::from_static("accept-encoding"));
        own.insert(ETAG, header(self.etag.clone()));
        if gzip && !known {
            own.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        reply
    }
}

/// All assets.
struct Assets {
    /// By the last part of their address.
    by_address: BTreeMap<String, Asset>,
    /// The last part of the address of each name.
    addresses: BTreeMap<&'static str, String>,
}

static ASSETS: LazyLock<Assets> = LazyLock::new(|| {
    let mut by_address = BTreeMap::new();
    let mut addresses = BTreeMap::new();
    for (name, media_type, content) in FILES {
        let (stem, ending) = name.rsplit_once('.').unwrap_or((name, ""));
        let hashed = format!("{stem}-{}.{ending}", hash(content.as_bytes()));
        addresses.insert(name, hashed.clone());
        by_address.insert(hashed, Asset::new(media_type, content.into()));
    }
    Assets { by_address, addresses }
});

static WORKER_ASSET: LazyLock<Asset> = LazyLock::new(|| {
    let all: Vec<String> = FILES.iter().map(|(name, ..)| address(name)).collect();
    let content = WORKER.replace("OUTBOX", &address("outbox.js")).replace("ASSETS", &all.join(" "));
    Asset::new("text/javascript; charset=utf-8", content.into_bytes())
});

/// The address of an asset.
pub(super) fn address(name: &str) -> String {
    format!("/assets/{}", ASSETS.addresses.get(name).map_or(name, String::as_str))
}

/// `GET /assets/{file}`.
pub(in super::super) async fn asset(call: Call) -> Result<Reply, Problem> {
    let file = call.name("file");
    if let Some(asset) = ASSETS.by_address.get(file) {
        return Ok(asset.reply(&call.parts.headers, "public, max-age=31536000, immutable"));
    }
    // A page of another version, while a deployment is renewed: this version's file is better than none, for this once.
    let own = name_of(file).and_then(|name| ASSETS.by_address.get(ASSETS.addresses.get(&*name)?));
    let own = own.ok_or_else(|| Problem::new(Kind::NoRoute, "no asset has this name"))?;
    Ok(own.reply(&call.parts.headers, "no-store"))
}

/// The name of an asset out of its address in some version.
fn name_of(file: &str) -> Option<String> {
    let (stem, ending) = file.rsplit_once('.')?;
    let (stem, _) = stem.rsplit_once('-')?;
    Some(format!("{stem}.{ending}"))
}

/// `GET /worker.js`. Browsers ask for it again and again, so that a new version replaces the old one.
pub(in super::super) async fn worker(call: Call) -> Result<Reply, Problem> {
    Ok(WORKER_ASSET.reply(&call.parts.headers, "no-cache"))
}

fn hash(content: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(content)[..8])
}

fn compress(content: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;

    use super::{ASSETS, FILES, WORKER_ASSET, address};

    #[test]
    fn every_asset_is_small_compressed_and_named_by_its_content() {
        let mut total = 0;
        for (name, _, content) in FILES {
            let address = address(name);
            let asset = &ASSETS.by_address[address.strip_prefix("/assets/").expect("an asset")];
            let mut read = String::new();
            GzDecoder::new(&asset.gzip[..]).read_to_string(&mut read).expect("decompresses");
            assert_eq!(read, content);
            assert!(asset.gzip.len() < asset.plain.len() || content.len() < 400, "{name}");
            assert_eq!(address.len(), "/assets/".len() + name.len() + 17, "{address}");
            total += content.len();
        }
        assert!(total < 30_000, "{total}");
    }

    #[test]
    fn the_worker_names_every_asset() {
        let worker = String::from_utf8(WORKER_ASSET.plain.to_vec()).expect("text");
        assert!(FILES.iter().all(|(name, ..)| worker.contains(&address(name))));
        assert!(!worker.contains("ASSETS") && !worker.contains("OUTBOX"), "all is filled in");
    }
}
