//! Params and results of the methods that read and follow the items of a run's transcript.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{
    RunId,
    item::{Item, ItemChange},
};

/// Which items to read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ItemsParams {
    /// Which run.
    pub(crate) run_id: RunId,
    /// Reads the items that follow this one. Default: the last items.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) after: Option<u64>,
    /// Reads the items before this one instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) before: Option<u64>,
    /// Most items of the page. Default 200; more than 1000 counts as 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) limit: Option<u64>,
    /// Most bytes of the page. Default 1 MiB; more than 8 MiB counts as 8. A page has at least one item if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max_bytes: Option<u64>,
}

/// A page of items.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ItemsResult {
    /// The page, ascending by number.
    pub(crate) items: Vec<Item>,
    /// How many items the run has.
    pub(crate) total: u64,
    /// The items are as of this entry; `afterSeq` of an attach that goes on from here.
    pub(crate) seq: u64,
    /// `after` of the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<u64>,
    /// `before` of the page before; absent on the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) prev: Option<u64>,
}

/// Which item to read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GetItemParams {
    /// Which run.
    pub(crate) run_id: RunId,
    /// Number of the item.
    pub(crate) item: u64,
}

/// One item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct GetItemResult {
    /// The item, with nothing omitted but output, which `run/text` and `run/read` have.
    pub(crate) item: Item,
}

/// In which form a client follows a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum AttachForm {
    /// Every entry of the log.
    Entries,
    /// The items of the transcript: `run/item` in place of `run/output` and `run/update`.
    Items,
}

/// Params of `run/item`: an item that is new or changed, whole, or what is appended to one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ItemParams {
    /// Which run.
    pub(crate) run_id: RunId,
    /// Going on after the entry before this one misses nothing. Of an append it is the item's new `lastSeq`.
    pub(crate) seq: u64,
    #[serde(flatten)]
    pub(crate) change: ItemChange,
}
