//! Turns the written form into the checked one: checks bounds of single values, then contradictions between them.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use service::config;
use service::listen::{MOST_FIELDS, MOST_HEAD_BYTES};
use service::signing::SigningKey;

use super::{
    BreakerRules, BreakerSection, CacheRules, CacheSection, EdgeConfig, EdgeConfigError, EdgeSection, Limits,
    LimitsSection, RateLimit, RateLimitSection, Retry, RetrySection, Timeouts, TimeoutsSection,
};

pub(super) fn edge(section: EdgeSection, base: &Path) -> Result<EdgeConfig, EdgeConfigError> {
    let tls =
        section.tls.map(|tls| Ok::<_, EdgeConfigError>((tls.listen.clone(), tls.files().within("edge.tls", base)?)));
    let tls = tls.transpose()?;
    let mut listeners: Vec<(&'static str, SocketAddr)> = Vec::new();
    listeners.extend(section.listen.all().iter().map(|address| ("edge.listen", *address)));
    if let Some((listen, _)) = &tls {
        listeners.extend(listen.all().iter().map(|address| ("edge.tls.listen", *address)));
    }
    config::distinct(&listeners)?;
    let retry = retry(section.retry)?;
    let secret_file = section.secret_file.map(|path| config::path("edge.secret_file", &path, base)).transpose()?;
    Ok(EdgeConfig {
        listen: section.listen,
        tls,
        trusted_proxies: section.trusted_proxies,
        name: pseudonym(section.name)?,
        balance: section.balance,
        sticky: section.sticky,
        secret: secret_file.as_deref().map_or_else(|| Ok(SigningKey::random()), SigningKey::load)?,
        secret_file,
        limits: limits(section.limits)?,
        timeouts: timeouts(section.timeouts)?,
        retry,
        breaker: breaker(section.breaker)?,
        rate_limit: rate_limit(section.rate_limit)?,
        cache: cache(section.cache)?,
        capacity_limit: fraction("capacity_limit", section.capacity_limit)?,
        hedge_after: match section.hedge_after_ms {
            0 => None,
            after => Some(millis("hedge_after_ms", after)?),
        },
    })
}

fn pseudonym(name: String) -> Result<String, EdgeConfigError> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    if (1..=40).contains(&name.len()) && name.bytes().all(allowed) {
        Ok(name)
    } else {
        Err(EdgeConfigError::BadName { name })
    }
}

fn range(key: &'static str, value: u64, min: u64, max: u64) -> Result<u64, EdgeConfigError> {
    Ok(config::whole(format!("edge.{key}"), value, min, max)?)
}

fn small(key: &'static str, value: u64, min: u32, max: u32) -> Result<u32, EdgeConfigError> {
    let value = range(key, value, min.into(), max.into())?;
    Ok(u32::try_from(value).unwrap_or(max))
}

fn size(key: &'static str, value: u64, min: u32, max: u32, shift: u8) -> Result<usize, EdgeConfigError> {
    Ok((small(key, value, min, max)? as usize) << shift)
}

fn positive(key: &'static str, value: u64) -> Result<NonZeroU32, EdgeConfigError> {
    Ok(NonZeroU32::new(small(key, value, 1, 1_000_000)?).unwrap_or(NonZeroU32::MIN))
}

fn millis(key: &'static str, value: u64) -> Result<Duration, EdgeConfigError> {
    Ok(Duration::from_millis(range(key, value, 10, 3_600_000)?))
}

fn fraction(key: &'static str, value: f64) -> Result<f64, EdgeConfigError> {
    Ok(config::range(format!("edge.{key}"), value, 0.01, 1.0)?)
}

fn limits(written: LimitsSection) -> Result<Limits, EdgeConfigError> {
    Ok(Limits {
        connections: size("limits.connections", written.connections, 1, 1_000_000, 0)?,
        connections_per_client: size("limits.connections_per_client", written.connections_per_client, 1, 1_000_000, 0)?,
        venues_per_hour: positive("limits.venues_per_hour", written.venues_per_hour)?,
        // The nodes accept 16 KiB, so a lower limit here would refuse what they accept.
        body: range("limits.body_kib", written.body_kib, 16, 1 << 30)? << 10,
        // The HTTP library refuses less than 8 KiB, and nodes refuse larger heads.
        head: size("limits.head_kib", written.head_kib, 8, (MOST_HEAD_BYTES >> 10) as u32, 10)?,
        headers: size("limits.headers", written.headers, 16, MOST_FIELDS as u32, 0)?,
        streams: small("limits.streams", written.streams, 1, 10_000)?,
    })
}

fn timeouts(written: TimeoutsSection) -> Result<Timeouts, EdgeConfigError> {
    Ok(Timeouts {
        head: millis("timeouts.head_ms", written.head_ms)?,
        body_idle: millis("timeouts.body_idle_ms", written.body_idle_ms)?,
        body: millis("timeouts.body_ms", written.body_ms)?,
        idle: millis("timeouts.idle_ms", written.idle_ms)?,
        write: millis("timeouts.write_ms", written.write_ms)?,
        connect: millis("timeouts.connect_ms", written.connect_ms)?,
        answer: millis("timeouts.answer_ms", written.answer_ms)?,
        answer_idle: millis("timeouts.answer_idle_ms", written.answer_idle_ms)?,
        request: millis("timeouts.request_ms", written.request_ms)?,
        drain: millis("timeouts.drain_ms", written.drain_ms)?,
    })
}

fn retry(written: RetrySection) -> Result<Retry, EdgeConfigError> {
    Ok(Retry {
        attempts: small("retry.attempts", written.attempts, 1, 100)?,
        budget: fraction("retry.budget", written.budget)?,
        budget_floor: small("retry.budget_floor", written.budget_floor, 0, 1_000_000)?,
        buffer: size("retry.buffer_kib", written.buffer_kib, 0, 1_024, 10)?,
    })
}

fn breaker(written: BreakerSection) -> Result<BreakerRules, EdgeConfigError> {
    let open = millis("breaker.open_ms", written.open_ms)?;
    range("breaker.open_max_ms", written.open_max_ms, written.open_ms, 3_600_000)?;
    Ok(BreakerRules {
        failures: small("breaker.failures", written.failures, 1, 1_000)?,
        ratio: fraction("breaker.ratio", written.ratio)?,
        above_others: fraction("breaker.above_others", written.above_others)?,
        requests: small("breaker.requests", written.requests, 1, 1_000_000)?,
        window: millis("breaker.window_ms", written.window_ms)?,
        open,
        open_max: Duration::from_millis(written.open_max_ms),
        most_excluded: fraction("breaker.most_excluded", written.most_excluded)?,
    })
}

fn rate_limit(written: RateLimitSection) -> Result<Option<RateLimit>, EdgeConfigError> {
    let burst = positive("rate_limit.burst", written.burst)?;
    if written.requests_per_second == 0 {
        return Ok(None);
    }
    let per_second = positive("rate_limit.requests_per_second", written.requests_per_second)?;
    Ok(Some(RateLimit { per_second, burst, exempt: written.exempt }))
}

fn cache(written: CacheSection) -> Result<Option<CacheRules>, EdgeConfigError> {
    let bytes = range("cache.mib", written.mib, 0, 65_536)? << 20;
    let object = size("cache.max_object_kib", written.max_object_kib, 1, 65_536, 10)?;
    let stale_if_error = Duration::from_secs(range("cache.stale_if_error_s", written.stale_if_error_s, 0, 604_800)?);
    Ok((bytes > 0).then_some(CacheRules { bytes, object, stale_if_error }))
}
