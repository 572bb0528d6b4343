//! Writes families of metrics whose values are known already.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// Names and values of a series' labels.
pub(super) type Labels = Vec<(&'static str, String)>;

/// A value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value {
    Whole(u64),
    Real(f64),
}

/// What has been written so far. A family is written once, with all of its series.
#[derive(Debug)]
pub(super) struct Exposition<'a>(DescriptorEncoder<'a>);

impl<'a> Exposition<'a> {
    pub(super) fn new(encoder: DescriptorEncoder<'a>) -> Self {
        Self(encoder)
    }

    /// A family of counters; the format appends `_total` to their name.
    pub(super) fn counter(
        &mut self,
        name: &str,
        help: &str,
        all: impl IntoIterator<Item = (Labels, Value)>,
    ) -> fmt::Result {
        self.family(name, help, MetricType::Counter, all, |encoder, value| match value {
            Value::Whole(value) => encoder.encode_counter::<NoLabelSet, _, u64>(&value, None),
            Value::Real(value) => encoder.encode_counter::<NoLabelSet, _, u64>(&value, None),
        })
    }

    /// A family of gauges.
    pub(super) fn gauge(
        &mut self,
        name: &str,
        help: &str,
        all: impl IntoIterator<Item = (Labels, Value)>,
    ) -> fmt::Result {
        self.family(name, help, MetricType::Gauge, all, |encoder, value| match value {
            Value::Whole(value) => encoder.encode_gauge(&value),
            Value::Real(value) => encoder.encode_gauge(&value),
        })
    }

    /// A family of histograms.
    pub(super) fn histograms(
        &mut self,
        name: &str,
        help: &str,
        all: impl IntoIterator<Item = (Labels, super::Histogram)>,
    ) -> fmt::Result {
        self.family(name, help, MetricType::Histogram, all, |encoder, (sum, count, buckets)| {
            encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
        })
    }

    fn family<T>(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        all: impl IntoIterator<Item = (Labels, T)>,
        write: impl Fn(&mut MetricEncoder<'_>, T) -> fmt::Result,
    ) -> fmt::Result {
        let mut encoder = self.0.encode_descriptor(name, help, None, kind)?;
        for (labels, value) in all {
            if labels.is_empty() {
                write(&mut encoder, value)?;
            } else {
                write(&mut encoder.encode_family(&labels)?, value)?;
            }
        }
        Ok(())
    }
}
