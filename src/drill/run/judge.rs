//! From what was seen to the report: figures, objectives.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Drill, Progress};
use crate::drill::figures;
use crate::drill::ledger::ClientKind;
use crate::drill::preflight::Check;
use crate::drill::prove::Proof;
use crate::drill::report::{Course, FollowShown, Objective, Report, Rpo, Verdict};

impl Drill {
    /// A report without measurements.
    pub(super) fn report(&self, checks: Vec<Check>, verdict: Verdict, reason: Option<String>) -> Report {
        Report {
            name: self.plan.name.clone(),
            about: self.plan.about.clone(),
            verdict,
            mode: self.plan.mode,
            region: self.plan.region.clone(),
            run: self.id.clone(),
            by: self.by.clone(),
            version: env!("CARGO_PKG_VERSION"),
            begun: self.began,
            ended: Timestamp::now(),
            rate: self.plan.clients.rate,
            reason,
            checks,
            detect_s: None,
            dns_s: None,
            edge_s: None,
            rto_s: ClientKind::ALL.iter().map(|kind| (kind.name(), None)).collect(),
            recovery: BTreeMap::new(),
            rpo: Rpo::default(),
            failed: ClientKind::ALL.iter().map(|kind| (kind.name(), 0)).collect(),
            sent: ClientKind::ALL.iter().map(|kind| (kind.name(), 0)).collect(),
            session_breaches: 0,
            follow: FollowShown::default(),
            converged_s: None,
            restored: None,
            acknowledged: 0,
            resurrected: 0,
            left_behind: 0,
            objectives: Vec::new(),
            timeline: Vec::new(),
            errors: Vec::new(),
        }
    }

    pub(super) fn measure(&self, report: &mut Report, course: &Course, progress: &Progress, proof: &Proof) {
        let (samples, moments) = (&course.samples, progress.moments);
        report.ended = Timestamp::now();
        report.detect_s = figures::first(&course.looks, moments, |look| look.routers_know);
        report.dns_s = figures::first(&course.looks, moments, |look| look.dns_elsewhere);
        // Without an effect on the region's clients the edge has nothing to leave.
        report.edge_s = self.plan.region.as_ref().and_then(|region| figures::edge_left(samples, region, moments));
        for kind in ClientKind::ALL {
            let recovery = figures::recovery(samples, kind, moments);
            report.rto_s.insert(kind.name(), recovery.and_then(|recovery| recovery.p99_s));
            report.recovery.extend(recovery.map(|recovery| (kind.name(), recovery)));
            report.failed.insert(kind.name(), figures::failed(samples, kind, moments));
            let after = samples.iter().filter(|sample| sample.kind == kind && sample.at + sample.took >= moments.begun);
            report.sent.insert(kind.name(), after.count());
        }
        report.rpo = Rpo {
            unreplicated: progress.unreplicated.map(|found| found.count),
            oldest_s: progress.unreplicated.map(|found| found.oldest.as_secs_f64()),
            lost: proof.lost,
        };
        report.acknowledged = proof.acknowledged;
        report.converged_s = progress.converged.map(|took| took.as_secs_f64());
        report.restored = progress.restored.clone();
        report.resurrected = proof.resurrected.max(progress.resurrected);
        report.errors = progress.errors.iter().chain(&proof.errors).cloned().collect();
    }

    pub(super) fn objectives(&self, report: &Report) -> Vec<Objective> {
        let wanted = &self.plan.objectives;
        let seconds = |bound: Option<api::duration::Text>| bound.map(|bound| bound.0.as_secs_f64());
        let rto = |kind: ClientKind| report.rto_s.get(kind.name()).copied().flatten();
        let count = |count: usize| Some(count as f64);
        let restored = report.restored.as_ref();
        let failed = report.failed.get(ClientKind::Edge.name()).copied().unwrap_or_default();
        let all = [
            ("detect", "s", seconds(wanted.detect), report.detect_s),
            ("dns", "s", seconds(wanted.dns), report.dns_s),
            ("rto-edge", "s", seconds(wanted.rto_edge), rto(ClientKind::Edge)),
            ("rto-ttl", "s", seconds(wanted.rto_ttl), rto(ClientKind::Ttl)),
            ("failed-edge", "", Some(wanted.failed_edge as f64), count(failed)),
            ("lost", "", Some(wanted.lost as f64), count(report.rpo.lost)),
            ("rpo", "s", seconds(wanted.rpo), report.rpo.oldest_s),
            ("session-breaches", "", Some(wanted.session_breaches as f64), Some(report.session_breaches as f64)),
            ("resurrected", "", Some(0.0), count(report.resurrected)),
            ("restore", "s", seconds(wanted.restore), restored.and_then(|restored| restored.restore_s)),
            ("caught-up", "s", seconds(wanted.caught_up), restored.and_then(|restored| restored.caught_up_s)),
            ("converged", "s", seconds(wanted.converged), report.converged_s),
            ("left-behind", "", Some(0.0), count(report.left_behind)),
        ];
        all.into_iter()
            .filter_map(|(name, unit, bound, measured)| {
                let bound = bound?;
                Some(Objective { name, unit, bound, measured, met: measured.is_some_and(|measured| measured <= bound) })
            })
            .collect()
    }
}
