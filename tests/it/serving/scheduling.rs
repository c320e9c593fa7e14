//! The pool: overload, deadlines, callers that leave, models that panic.

use std::sync::Arc;

use serde_json::json;
use weir::api::Shutdown;
use weir::app::StopReason;

use crate::fixtures::{add_bare_model, bare_model, half_plus_two, panics_on_seven, slow};
use crate::support::{TestApp, until};

fn series(family: &str, model: &str) -> String {
    format!("{family}{{model=\"{model}\",version=\"1\"}}")
}

fn outcome(app: &TestApp, model: &str, outcome: &str) -> f64 {
    app.metric(&format!("weir_inference_requests_total{{model=\"{model}\",outcome=\"{outcome}\",version=\"1\"}}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_at_once_and_everything_is_accounted_for() {
    let app = TestApp::with_temp(bare_model("slow", &slow()), |options| {
        options.threads = Some(1);
        options.queue_capacity = Some(2);
    })
    .await;
    let app = Arc::new(app);
    let requests: Vec<_> = (0..12)
        .map(|_| {
            let app = app.clone();
            tokio::spawn(async move { app.post_json("/predict", &json!({"instances": [[[1.0]]]})).await })
        })
        .collect();
    let (mut answered, mut refused) = (0, 0);
    for request in requests {
        let answer = request.await.unwrap();
        match answer.status.as_u16() {
            200 => answered += 1,
            _ => {
                answer.assert_problem(503);
                assert!(answer.headers["retry-after"].to_str().unwrap().parse::<u32>().unwrap() >= 1);
                refused += 1;
            }
        }
    }
    assert!(
        answered >= 2 && refused >= 1,
        "what fits into the queue is served, the rest refused: {answered}, {refused}"
    );
    assert_eq!(outcome(&app, "slow", "success"), f64::from(answered));
    assert_eq!(outcome(&app, "slow", "overloaded"), f64::from(refused));
    assert_eq!(app.metric(&series("weir_inference_in_flight", "slow")), 0.0);
    assert_eq!(app.metric(&series("weir_queue_depth", "slow")), 0.0);
}

/// A batch that nobody completes keeps the only place, so the queue is full for as long as the test lasts.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_body_is_refused_unread_while_the_queue_is_full() {
    let app = TestApp::with_temp(bare_model("half", &half_plus_two()), |options| {
        options.threads = Some(1);
        options.queue_capacity = Some(1);
        options.inline_below_microseconds = Some(0);
        options.max_batch_size = Some(8);
        options.max_queue_delay_microseconds = Some(60_000_000);
        options.request_timeout_seconds = Some(60.0);
    })
    .await;
    let app = Arc::new(app);
    let waiting = {
        let app = app.clone();
        tokio::spawn(async move { app.post_json("/predict", &json!({"instances": [[1.0]]})).await })
    };
    until("one waits", || app.metric(&series("weir_queue_depth", "half")) == 1.0).await;
    for length in ["content-length: 1000000", "transfer-encoding: chunked"] {
        let head = format!("POST /predict HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n{length}\r\n\r\n");
        let answer = app.raw(head.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("retry-after"), "{length}: {answer}");
    }
    assert_eq!(outcome(&app, "half", "overloaded"), 2.0);
    waiting.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_cannot_be_done_in_time_is_answered_503_or_504_and_never_run() {
    let app = TestApp::with_temp(bare_model("slow", &slow()), |options| {
        options.threads = Some(1);
        options.request_timeout_seconds = Some(0.004);
    })
    .await;
    let app = Arc::new(app);
    let executed = || app.metric(&series("weir_inference_batch_size_count", "slow"));
    let before = executed();
    let requests: Vec<_> = (0..6)
        .map(|_| {
            let app = app.clone();
            tokio::spawn(async move { app.post_json("/predict", &json!({"instances": [[[1.0]]]})).await })
        })
        .collect();
    let mut late = 0.0;
    for request in requests {
        // What has to wait too long is told so at once; what began, or came while nothing else waited, finds out.
        let answer = request.await.unwrap();
        assert!([503, 504].contains(&answer.status.as_u16()), "{}", answer.text());
        late += f64::from(u8::from(answer.status == 504));
    }
    assert!(late >= 1.0, "the first is not refused");
    until("the queue is empty", || app.metric(&series("weir_queue_depth", "slow")) == 0.0).await;
    assert!(executed() - before <= 1.0, "only the first can have begun in time");
    assert_eq!(outcome(&app, "slow", "deadline_exceeded"), late);
    assert_eq!(outcome(&app, "slow", "overloaded"), 6.0 - late);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_left_is_not_computed_for() {
    let one_at_a_time = |options: &mut weir::config::ServeOptions| {
        options.threads = Some(1);
        options.max_batch_size = Some(1);
    };
    let app = TestApp::with_temp(bare_model("slow", &slow()), one_at_a_time).await;
    let app = Arc::new(app);
    let executed = || app.metric(&series("weir_inference_batch_size_count", "slow"));
    let before = executed();
    let requests: Vec<_> = (0..8)
        .map(|_| {
            let app = app.clone();
            tokio::spawn(async move { app.post_json("/predict", &json!({"instances": [[[1.0]]]})).await })
        })
        .collect();
    // Seven may wait before the eighth has come and before the first runs.
    let all_are_in = || app.metric(&series("weir_inference_in_flight", "slow")) == 8.0;
    until("one runs and seven wait", || all_are_in() && app.metric(&series("weir_queue_depth", "slow")) == 7.0).await;
    requests.iter().for_each(tokio::task::JoinHandle::abort);
    until("all are gone", || app.metric(&series("weir_queue_depth", "slow")) == 0.0).await;
    until("all are counted", || outcome(&app, "slow", "cancelled") + outcome(&app, "slow", "success") == 8.0).await;
    assert!(executed() - before <= 2.0, "those that waited were not run: {}", executed() - before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_connection_cancels_its_request() {
    use tokio::io::AsyncWriteExt as _;
    let one_at_a_time = |options: &mut weir::config::ServeOptions| {
        options.threads = Some(1);
        options.max_batch_size = Some(1);
    };
    let app = TestApp::with_temp(bare_model("slow", &slow()), one_at_a_time).await;
    let body = r#"{"instances":[[[1.0]]]}"#;
    let request = format!("POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let mut streams = Vec::new();
    for _ in 0..4 {
        let mut stream = tokio::net::TcpStream::connect(app.addr).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        streams.push(stream);
    }
    // The first may have been answered before the fourth has come.
    let under_way = || app.metric(&series("weir_inference_in_flight", "slow"));
    until("all four are in", || outcome(&app, "slow", "success") + under_way() == 4.0).await;
    drop(streams);
    // The one that was running may still have been answered, to nobody.
    until("all are counted", || outcome(&app, "slow", "cancelled") + outcome(&app, "slow", "success") == 4.0).await;
    assert!(outcome(&app, "slow", "cancelled") >= 1.0);
}

/// Both the thread that received the request and the compute threads run models.
#[tokio::test(flavor = "multi_thread")]
async fn an_index_beyond_a_table_is_one_answer_400_and_nothing_else() {
    for inline_below in [0, 1_000_000] {
        let app = TestApp::with_temp(bare_model("bomb", &panics_on_seven()), |options| {
            options.threads = Some(2);
            options.inline_below_microseconds = Some(inline_below);
        })
        .await;
        for round in 0..100 {
            let detail = app.post_json("/predict", &json!({"instances": [[7.0]]})).await.assert_problem(422);
            assert!(detail.contains("outside axis 0 of the table") && !detail.contains(".rs"), "{detail}");
            let fine = app.post_json("/predict", &json!({"instances": [[3.0]]})).await;
            assert_eq!(fine.json()["predictions"][0]["outputs"]["y"], json!([3.0]), "round {round}");
        }
        assert_eq!((outcome(&app, "bomb", "invalid_input"), outcome(&app, "bomb", "success")), (100.0, 100.0));
        assert_eq!(app.stop(StopReason::Interrupt).await, Shutdown::Clean);
    }
}

/// Requests that are ready together run as one batch; one that breaks it breaks nobody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neighbours_of_a_request_that_panics_get_their_own_answers() {
    let app = Arc::new(TestApp::with_temp(bare_model("bomb", &panics_on_seven()), |_| {}).await);
    for _ in 0..20 {
        let ask = |index: usize| {
            let (app, x) = (app.clone(), if index.is_multiple_of(5) { 7.0 } else { (index % 4) as f64 });
            tokio::spawn(async move { (x, app.post_json("/predict", &json!({"instances": [[x]]})).await) })
        };
        for asked in (0..24).map(ask).collect::<Vec<_>>() {
            let (x, answer) = asked.await.unwrap();
            if x == 7.0 {
                answer.assert_problem(422);
            } else {
                assert_eq!(answer.json()["predictions"][0]["outputs"]["y"], json!([x]));
            }
        }
    }
    assert_eq!((outcome(&app, "bomb", "invalid_input"), outcome(&app, "bomb", "success")), (100.0, 380.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_model_does_not_delay_health_or_another_model_s_inline_work() {
    let models = bare_model("slow", &slow());
    add_bare_model(models.path(), "tiny", 1, &half_plus_two());
    let app = Arc::new(TestApp::with_temp(models, |options| options.threads = Some(1)).await);
    let busy = {
        let app = app.clone();
        tokio::spawn(async move {
            app.post_json("/models/slow/predict", &json!({"instances": [[[1.0]], [[2.0]], [[3.0]]]})).await
        })
    };
    until("the slow one runs", || app.metric(&series("weir_inference_in_flight", "slow")) == 1.0).await;
    assert_eq!(app.get("/livez").await.status, 200);
    let tiny = app.post_json("/models/tiny/predict", &json!({"instances": [[4.0]]})).await;
    assert_eq!(tiny.json()["predictions"][0]["outputs"]["y"], json!([4.0]));
    assert_eq!(busy.await.unwrap().status, 200);
}
