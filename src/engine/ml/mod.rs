//! The operators of `ai.onnx.ml`: what the converters of scikit-learn, xgboost and lightgbm write.
//!
//! tract has few of them, and computes tree ensembles one number at a time. These replace what tract has.
//! Where the standard leaves a case open, such as a classifier of two classes with scores of one, they
//! give what ONNX Runtime gives.
//!
//! Operators on maps (CastMap, DictVectorizer, ZipMap) are absent: no protocol carries a map.

mod categories;
mod columns;
mod extract;
mod labels;
mod linear;
mod operator;
mod scores;
mod svm;
mod trees;

use tract_onnx::model::OnnxOpRegister;
use tract_onnx::prelude::TypedOp;

/// Makes a reader of ONNX build these operators.
pub(super) fn register(operators: &mut OnnxOpRegister) {
    operators.insert("ArrayFeatureExtractor", extract::array_feature_extractor);
    operators.insert("Binarizer", columns::binarizer);
    operators.insert("FeatureVectorizer", extract::feature_vectorizer);
    operators.insert("Imputer", columns::imputer);
    operators.insert("LabelEncoder", categories::label_encoder);
    operators.insert("LinearClassifier", linear::classifier);
    operators.insert("LinearRegressor", linear::regressor);
    operators.insert("Normalizer", columns::normalizer);
    operators.insert("OneHotEncoder", categories::one_hot_encoder);
    operators.insert("Scaler", columns::scaler);
    operators.insert("SVMClassifier", svm::classifier);
    operators.insert("SVMRegressor", svm::regressor);
    operators.insert("TreeEnsemble", trees::ensemble);
    operators.insert("TreeEnsembleClassifier", trees::classifier);
    operators.insert("TreeEnsembleRegressor", trees::regressor);
}

/// Returns true if an operation is one of these operators.
pub(super) fn is_operator(op: &dyn TypedOp) -> bool {
    op.is::<operator::OperatorNode>()
}
