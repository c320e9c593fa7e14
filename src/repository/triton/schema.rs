//! Every field that `config.pbtxt` may have, and what becomes of it here: what the parser obeys and
//! what `docs/triton.md` says are both read off this table.

use super::config::DataType;

/// The type of a field.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Bool,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Text,
    Enum(&'static [&'static str]),
    Message(&'static Schema),
    /// Messages of a map from this kind of key.
    Map(&'static Kind, &'static Kind),
    /// Not looked into.
    Anything,
}

/// The treatment of a field.
#[derive(Debug, Clone, Copy)]
pub(super) enum Treatment {
    /// It does what it does in Triton, or what the text says.
    Obeyed(#[cfg_attr(not(test), expect(dead_code, reason = "only the document says it"))] &'static str),
    /// It is shown in the configuration and named in a warning, with this reason.
    Warned(&'static str),
    /// The model is not served, with this reason.
    Refused(&'static str),
}

/// A field.
#[derive(Debug)]
pub(super) struct FieldSpec {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) many: bool,
    pub(super) treatment: Treatment,
}

/// A message.
#[derive(Debug)]
pub(super) struct Schema {
    pub(super) fields: &'static [FieldSpec],
    /// Fields of which at most one may be set.
    pub(super) one_of: &'static [&'static str],
}

const fn one(name: &'static str, kind: Kind, treatment: Treatment) -> FieldSpec {
    FieldSpec { name, kind, many: false, treatment }
}

const fn many(name: &'static str, kind: Kind, treatment: Treatment) -> FieldSpec {
    FieldSpec { name, kind, many: true, treatment }
}

use Kind::{Anything, Bool, Enum, Int32, Int64, Map, Text, Uint32, Uint64};
use Treatment::{Obeyed, Refused, Warned};

const PLAIN: Treatment = Obeyed("");
const TENSORRT: Treatment = Warned("it belongs to TensorRT");
const DATA_TYPE: Kind = Enum(DataType::NAMES);

/// The whole file.
pub(super) static MODEL_CONFIG: Schema = Schema {
    one_of: &["dynamic_batching", "sequence_batching", "ensemble_scheduling"],
    fields: &[
        one("name", Text, Obeyed("must be the name of the folder, if it is given")),
        one("platform", Text, Obeyed("`onnxruntime_onnx`; the model ends with a reason for any other")),
        one(
            "backend",
            Text,
            Obeyed(
                "`onnxruntime`, in whichever engine `--engine` chooses, or `tract`; the model ends with a reason for any other",
            ),
        ),
        one("runtime", Text, Warned("the engine is chosen by --engine or by model.toml")),
        one("version_policy", Kind::Message(&VERSION_POLICY), Obeyed("without it the latest version is served")),
        one(
            "max_batch_size",
            Int32,
            Obeyed(
                "more than 0 puts a batch dimension before all `dims`, which the graph must have; samples are checked to be independent, and then a request of more is split; 0 takes `dims` as they are and every request whole",
            ),
        ),
        many(
            "input",
            Kind::Message(&INPUT),
            Obeyed("compared with the graph: all of them or none; taken from the graph if there are none"),
        ),
        many(
            "output",
            Kind::Message(&OUTPUT),
            Obeyed("compared with the graph; only those listed are answered; taken from the graph if there are none"),
        ),
        many("batch_input", Anything, Refused("tensors that the server makes up from a batch are not supported")),
        many("batch_output", Anything, Refused("tensors that the server makes up from a batch are not supported")),
        one("optimization", Anything, Warned("each engine optimises the graph by itself")),
        one(
            "dynamic_batching",
            Kind::Message(&DYNAMIC_BATCHING),
            Obeyed("without it no two requests share a run, and none is cut"),
        ),
        one("sequence_batching", Anything, Refused("sequences of requests are not supported")),
        one("ensemble_scheduling", Anything, Refused("ensembles are not supported")),
        many(
            "instance_group",
            Kind::Message(&INSTANCE_GROUP),
            Obeyed(
                "the counts together limit the runs at the same time; without it every compute thread may run the model",
            ),
        ),
        one("default_model_filename", Text, Obeyed("a file in the version's folder")),
        many("cc_model_filenames", Map(&Text, &Text), Warned("there are no GPUs to choose a file for")),
        many("metric_tags", Map(&Text, &Text), Warned("metrics have the labels model and version")),
        many(
            "parameters",
            Map(&Text, &Kind::Message(&PARAMETER)),
            Obeyed("shown; each is named in a warning, since an engine's threads are the server's (`--threads`)"),
        ),
        many("model_warmup", Kind::Message(&WARMUP), Obeyed("run in every session before the version is available")),
        one("model_operations", Anything, Refused("libraries of operations are not loaded")),
        one("model_transaction_policy", Kind::Message(&TRANSACTION_POLICY), PLAIN),
        one(
            "model_repository_agents",
            Anything,
            Refused("repository agents, which may change or verify files, are not run"),
        ),
        one("response_cache", Kind::Message(&RESPONSE_CACHE), PLAIN),
        one("model_metrics", Anything, Warned("histograms have fixed buckets")),
    ],
};

static VERSION_POLICY: Schema = Schema {
    one_of: &["latest", "all", "specific"],
    fields: &[
        one("latest", Kind::Message(&LATEST), PLAIN),
        one("all", Kind::Message(&Schema { one_of: &[], fields: &[] }), PLAIN),
        one("specific", Kind::Message(&SPECIFIC), PLAIN),
    ],
};

static LATEST: Schema = Schema { one_of: &[], fields: &[one("num_versions", Uint32, PLAIN)] };

static SPECIFIC: Schema = Schema { one_of: &[], fields: &[many("versions", Int64, PLAIN)] };

static RESHAPE: Schema = Schema { one_of: &[], fields: &[many("shape", Int64, PLAIN)] };

const RESHAPED: Treatment =
    Obeyed("if both shapes hold the same number of elements, and at most one open dimension each");

static INPUT: Schema = Schema {
    one_of: &[],
    fields: &[
        one("name", Text, PLAIN),
        one("data_type", DATA_TYPE, PLAIN),
        one("format", Enum(&["FORMAT_NONE", "FORMAT_NHWC", "FORMAT_NCHW"]), Obeyed("shown; the layout is the graph's")),
        many("dims", Int64, PLAIN),
        one("reshape", Kind::Message(&RESHAPE), RESHAPED),
        one("is_shape_tensor", Bool, TENSORRT),
        one("allow_ragged_batch", Bool, Warned("samples of different shapes never share a run")),
        one("optional", Bool, Obeyed("shown; a request may leave out what the graph has a default for")),
        one("is_non_linear_format_io", Bool, TENSORRT),
    ],
};

static OUTPUT: Schema = Schema {
    one_of: &[],
    fields: &[
        one("name", Text, PLAIN),
        one("data_type", DATA_TYPE, PLAIN),
        many("dims", Int64, PLAIN),
        one("reshape", Kind::Message(&RESHAPE), RESHAPED),
        one(
            "label_filename",
            Text,
            Obeyed(
                "labels of the classification extension; of `/predict` too, if the output is a distribution over as many classes",
            ),
        ),
        one("is_shape_tensor", Bool, TENSORRT),
        one("is_non_linear_format_io", Bool, TENSORRT),
    ],
};

static DYNAMIC_BATCHING: Schema = Schema {
    one_of: &[],
    fields: &[
        many("preferred_batch_size", Int32, Obeyed("each at most `max_batch_size`")),
        one("max_queue_delay_microseconds", Uint64, PLAIN),
        one("preserve_ordering", Bool, Warned("every answer goes to its own request, as soon as it is there")),
        one("priority_levels", Uint64, Obeyed("up to 9; 1 runs first")),
        one("default_priority_level", Uint64, Obeyed("from 1 to `priority_levels`")),
        one("default_queue_policy", Kind::Message(&QUEUE_POLICY), PLAIN),
        many("priority_queue_policy", Anything, Warned("default_queue_policy is that of every priority")),
    ],
};

static QUEUE_POLICY: Schema = Schema {
    one_of: &[],
    fields: &[
        one(
            "timeout_action",
            Enum(&["REJECT", "DELAY"]),
            Obeyed("`REJECT`; with `DELAY`, which is warned about, the timeout has no effect"),
        ),
        one(
            "default_timeout_microseconds",
            Uint64,
            Obeyed("the time until the answer, not only in the queue; the request ends with a 504"),
        ),
        one("allow_timeout_override", Bool, Obeyed("a request may always ask for less, never for more")),
        one("max_queue_size", Uint32, Obeyed("one more request gets a 503; 0 is the server's limit, not none")),
    ],
};

static INSTANCE_GROUP: Schema = Schema {
    one_of: &[],
    fields: &[
        one("name", Text, Obeyed("shown")),
        one(
            "kind",
            Enum(&["KIND_AUTO", "KIND_GPU", "KIND_CPU", "KIND_MODEL"]),
            Obeyed("everything runs on the CPU; `KIND_GPU` is warned about"),
        ),
        one("count", Int32, PLAIN),
        one("rate_limiter", Anything, Warned("models share the compute threads by weight (model.toml)")),
        many("gpus", Int32, Warned("there are no GPUs")),
        many("secondary_devices", Anything, TENSORRT),
        many("profile", Text, TENSORRT),
        one("passive", Bool, Obeyed("the group is not counted")),
        one("host_policy", Text, Warned("threads are not bound to a part of the machine")),
    ],
};

static PARAMETER: Schema = Schema { one_of: &[], fields: &[one("string_value", Text, PLAIN)] };

static WARMUP: Schema = Schema {
    one_of: &[],
    fields: &[
        one("name", Text, PLAIN),
        one("batch_size", Uint32, PLAIN),
        many("inputs", Map(&Text, &Kind::Message(&WARMUP_INPUT)), PLAIN),
        one("count", Uint32, Obeyed("up to 1,000")),
    ],
};

static WARMUP_INPUT: Schema = Schema {
    one_of: &["zero_data", "random_data", "input_data_file"],
    fields: &[
        one("data_type", DATA_TYPE, PLAIN),
        many("dims", Int64, PLAIN),
        one("zero_data", Bool, PLAIN),
        one("random_data", Bool, Obeyed("numbers from 0 to 1, the same each time; text is empty")),
        one("input_data_file", Text, Obeyed("a file in the folder `warmup`")),
    ],
};

static TRANSACTION_POLICY: Schema =
    Schema { one_of: &[], fields: &[one("decoupled", Bool, Refused("a request has exactly one answer"))] };

static RESPONSE_CACHE: Schema = Schema {
    one_of: &[],
    fields: &[one("enable", Bool, Obeyed("with `--cache-bytes`, or 16 MiB where the server has none"))],
};
