"""Trains and converts the pipelines that converters.py serves: scikit-learn, xgboost and lightgbm.

Each pipeline is a function that returns a `Case`. What it should answer comes from the Python library
itself, never from another ONNX engine.
"""

import dataclasses
import warnings

import lightgbm
import numpy as np
import xgboost
from onnxmltools.convert import convert_lightgbm, convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType as OtherFloats
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_diabetes, load_iris
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    AdaBoostClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
    VotingClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, SGDClassifier
from sklearn.naive_bayes import BernoulliNB, GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Binarizer, MinMaxScaler, Normalizer, OneHotEncoder, OrdinalEncoder, PolynomialFeatures, StandardScaler
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.svm import SVC, SVR, LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

# The newest operator sets that the converters of all three libraries write.
OPSET = {"": 15, "ai.onnx.ml": 3}
ROWS = 7


@dataclasses.dataclass
class Case:
    """A converted pipeline: its inputs by name, and the right outputs by name."""

    onnx: bytes
    inputs: dict
    outputs: dict
    # The largest absolute difference from the library, which computes in 64 bits where ONNX has 32.
    tolerance: float = 1e-4


def flowers():
    data = load_iris()
    return data.data.astype(np.float32), data.target


def words():
    """Returns flowers with names of classes instead of numbers."""
    features, target = flowers()
    return features, np.array(["setosa", "versicolor", "virginica"])[target]


def two():
    features, target = flowers()
    return features, (target == 1).astype(np.int64)


def patients():
    data = load_diabetes()
    return data.data.astype(np.float32), data.target.astype(np.float32)


def pick(features):
    """Returns rows from all over a data set."""
    return features[:: len(features) // ROWS][:ROWS]


def classifier(model, data, zipmap=False, tolerance=1e-4):
    """Returns the case of a classifier on one matrix."""
    features, target = data()
    model.fit(features, target)
    options = {id(model): {"zipmap": zipmap}}
    onnx = to_onnx(model, initial_types=[("x", FloatTensorType([None, features.shape[1]]))], options=options, target_opset=OPSET)
    rows = pick(features)
    second = "output_probability" if zipmap else "probabilities"
    outputs = {"output_label" if zipmap else "label": model.predict(rows), second: model.predict_proba(rows)}
    return Case(onnx.SerializeToString(), {"x": rows}, outputs, tolerance)


def machine():
    """Returns the case of a linear support vector machine, whose scores are no probabilities."""
    features, target = flowers()
    model = LinearSVC().fit(features, target)
    onnx = to_onnx(model, initial_types=[("x", FloatTensorType([None, 4]))], options={id(model): {"raw_scores": True}}, target_opset=OPSET)
    rows = pick(features)
    return Case(onnx.SerializeToString(), {"x": rows}, {"label": model.predict(rows), "probabilities": model.decision_function(rows)})


def regressor(model, data=patients, tolerance=1e-3):
    """Returns the case of a regressor on one matrix."""
    features, target = data()
    model.fit(features, target)
    onnx = to_onnx(model, initial_types=[("x", FloatTensorType([None, features.shape[1]]))], target_opset=OPSET)
    rows = pick(features)
    values = model.predict(rows)
    return Case(onnx.SerializeToString(), {"x": rows}, {"variable": values.reshape(len(rows), -1)}, tolerance)


def transformer(model, data=flowers, tolerance=1e-4):
    """Returns the case of a transformer on one matrix."""
    features, target = data()
    model.fit(features, target)
    onnx = to_onnx(model, initial_types=[("x", FloatTensorType([None, features.shape[1]]))], target_opset=OPSET)
    rows = pick(features)
    return Case(onnx.SerializeToString(), {"x": rows}, {"variable": np.asarray(model.transform(rows))}, tolerance)


def clusters():
    features, _ = flowers()
    model = KMeans(3, n_init=3, random_state=0).fit(features)
    onnx = to_onnx(model, initial_types=[("x", FloatTensorType([None, 4]))], target_opset=OPSET)
    rows = pick(features)
    return Case(onnx.SerializeToString(), {"x": rows}, {"label": model.predict(rows), "scores": model.transform(rows)}, 1e-3)


def outliers():
    features, _ = flowers()
    model = IsolationForest(n_estimators=20, random_state=0).fit(features)
    onnx = to_onnx(model, initial_types=[("x", FloatTensorType([None, 4]))], target_opset=OPSET)
    rows = pick(features)
    outputs = {"label": model.predict(rows).reshape(-1, 1), "scores": model.decision_function(rows).reshape(-1, 1)}
    return Case(onnx.SerializeToString(), {"x": rows}, outputs)


def gaps():
    """Returns the case of missing values filled in before a forest."""
    features, target = flowers()
    features = features.copy()
    features[::3, 1] = np.nan
    return classifier(make_pipeline(SimpleImputer(), StandardScaler(), RandomForestClassifier(10, random_state=0)), lambda: (features, target))


def people():
    """Returns a table with two columns of numbers, one of texts, one of integers, and a target."""
    random = np.random.default_rng(3)
    count = 200
    age, income = random.uniform(18, 80, count), random.uniform(10, 90, count)
    city = random.choice(["Bonn", "Köln", "Ulm"], count)
    rooms = random.integers(1, 6, count)
    target = ((age / 80 + income / 90 + (city == "Ulm")) > 1.3).astype(np.int64)
    return {"age": age.astype(np.float32), "income": income.astype(np.float32), "city": city, "rooms": rooms.astype(np.int64)}, target


def frame(columns):
    import pandas

    return pandas.DataFrame({name: list(values) if values.dtype.kind == "U" else values for name, values in columns.items()})


def table(model, encoder, zipmap):
    """Returns the case of a pipeline over columns of several types, each an input of its own."""
    columns, target = people()
    prepare = ColumnTransformer([("scaled", StandardScaler(), ["age", "income"]), ("coded", encoder, ["city"]), ("kept", "passthrough", ["rooms"])])
    pipeline = make_pipeline(prepare, model).fit(frame(columns), target)
    kinds = {"f": FloatTensorType, "U": StringTensorType, "i": Int64TensorType}
    types = [(name, kinds[values.dtype.kind]([None, 1])) for name, values in columns.items()]
    onnx = to_onnx(pipeline, initial_types=types, options={id(model): {"zipmap": zipmap}}, target_opset=OPSET)
    rows = {name: pick(values) for name, values in columns.items()}
    second = "output_probability" if zipmap else "probabilities"
    outputs = {"output_label" if zipmap else "label": pipeline.predict(frame(rows)), second: pipeline.predict_proba(frame(rows))}
    return Case(onnx.SerializeToString(), {name: values.reshape(-1, 1) for name, values in rows.items()}, outputs)


def coded_texts(encoder):
    """Returns the case of two columns of texts in one input, encoded."""
    random = np.random.default_rng(4)
    texts = np.stack([random.choice(["red", "green", "blue"], 60), random.choice(["S", "M", "L", "XL"], 60)], axis=1).astype(object)
    encoder.fit(texts)
    onnx = to_onnx(encoder, initial_types=[("x", StringTensorType([None, 2]))], target_opset=OPSET)
    rows = pick(texts)
    return Case(onnx.SerializeToString(), {"x": rows.astype(str)}, {"variable": np.asarray(encoder.transform(rows))})


def two_targets():
    features, target = patients()
    target = np.stack([target, target[::-1] * 2], axis=1)
    return regressor(RandomForestRegressor(10, max_depth=5, random_state=0), lambda: (features, target), 1e-2)


def xgb(model, data, kind, tolerance=1e-4):
    features, target = data()
    model.fit(features, target)
    onnx = convert_xgboost(model, initial_types=[("x", OtherFloats([None, features.shape[1]]))], target_opset=15)
    rows = pick(features)
    if kind == "regressor":
        return Case(onnx.SerializeToString(), {"x": rows}, {"variable": model.predict(rows).reshape(-1, 1)}, tolerance)
    return Case(onnx.SerializeToString(), {"x": rows}, {"label": model.predict(rows), "probabilities": model.predict_proba(rows)}, tolerance)


def lgbm(model, data, kind, zipmap=False, tolerance=1e-4):
    features, target = data()
    model.fit(features, target)
    onnx = convert_lightgbm(model, initial_types=[("x", OtherFloats([None, features.shape[1]]))], target_opset=15, zipmap=zipmap)
    rows = pick(features)
    if kind == "regressor":
        return Case(onnx.SerializeToString(), {"x": rows}, {"variable": model.predict(rows).reshape(-1, 1)}, tolerance)
    return Case(onnx.SerializeToString(), {"x": rows}, {"label": model.predict(rows), "probabilities": model.predict_proba(rows)}, tolerance)


CASES = {
    "linear": lambda: regressor(LinearRegression()),
    "ridge-scaled": lambda: regressor(make_pipeline(MinMaxScaler(), Ridge())),
    "logistic": lambda: classifier(LogisticRegression(max_iter=500), flowers),
    "logistic-zipmap": lambda: classifier(LogisticRegression(max_iter=500), flowers, zipmap=True),
    "logistic-words-zipmap": lambda: classifier(LogisticRegression(max_iter=500), words, zipmap=True),
    "logistic-two-zipmap": lambda: classifier(LogisticRegression(), two, zipmap=True),
    "sgd": lambda: classifier(make_pipeline(StandardScaler(), SGDClassifier(loss="log_loss", random_state=0)), flowers),
    "linear-svc": machine,
    "svc-words": lambda: classifier(make_pipeline(StandardScaler(), SVC(probability=True, random_state=0)), words, tolerance=1e-3),
    "svc-two": lambda: classifier(SVC(kernel="poly", probability=True, random_state=0), two, tolerance=1e-3),
    "svr": lambda: regressor(SVR(C=100.0), tolerance=1e-2),
    "gaussian-nb": lambda: classifier(GaussianNB(), words, zipmap=True),
    "bernoulli-nb": lambda: classifier(make_pipeline(Binarizer(threshold=2.0), BernoulliNB()), flowers),
    "knn": lambda: classifier(KNeighborsClassifier(5), flowers),
    "knn-regressor": lambda: regressor(KNeighborsRegressor(4), tolerance=1e-2),
    "lda": lambda: classifier(LinearDiscriminantAnalysis(), words),
    "mlp": lambda: classifier(make_pipeline(StandardScaler(), MLPClassifier((8,), max_iter=300, random_state=0)), flowers),
    "tree-words-zipmap": lambda: classifier(DecisionTreeClassifier(random_state=0), words, zipmap=True),
    "tree-regressor": lambda: regressor(DecisionTreeRegressor(max_depth=6, random_state=0)),
    "forest": lambda: classifier(RandomForestClassifier(50, random_state=0), flowers, zipmap=True),
    "extra-trees-two": lambda: classifier(ExtraTreesClassifier(30, random_state=0), two),
    "gbdt": lambda: classifier(GradientBoostingClassifier(n_estimators=20, random_state=0), flowers),
    "gbdt-two-zipmap": lambda: classifier(GradientBoostingClassifier(n_estimators=20, random_state=0), two, zipmap=True),
    "gbdt-regressor": lambda: regressor(GradientBoostingRegressor(n_estimators=40, random_state=0)),
    "adaboost": lambda: classifier(AdaBoostClassifier(n_estimators=5, random_state=0), flowers),
    "voting": lambda: classifier(VotingClassifier([("a", LogisticRegression(max_iter=500)), ("b", DecisionTreeClassifier(max_depth=3))], voting="soft", flatten_transform=False), flowers),
    "imputer-forest": gaps,
    "polynomial-pca": lambda: transformer(make_pipeline(PolynomialFeatures(2), PCA(3)), tolerance=1e-2),
    "normalizer": lambda: transformer(Normalizer()),
    "kmeans": clusters,
    "isolation-forest": outliers,
    "two-targets": two_targets,
    "texts-one-hot": lambda: coded_texts(OneHotEncoder(sparse_output=False, handle_unknown="ignore")),
    "texts-ordinal": lambda: coded_texts(OrdinalEncoder()),
    "table-logistic": lambda: table(LogisticRegression(max_iter=500), OneHotEncoder(handle_unknown="ignore"), False),
    "table-forest-zipmap": lambda: table(RandomForestClassifier(10, random_state=0), OneHotEncoder(handle_unknown="ignore"), True),
    "table-ordinal": lambda: table(GradientBoostingClassifier(n_estimators=10, random_state=0), OrdinalEncoder(), False),
    "xgboost": lambda: xgb(xgboost.XGBClassifier(n_estimators=20, max_depth=4), flowers, "classifier"),
    "xgboost-two": lambda: xgb(xgboost.XGBClassifier(n_estimators=20), two, "classifier"),
    "xgboost-regressor": lambda: xgb(xgboost.XGBRegressor(n_estimators=20), patients, "regressor", 1e-2),
    "lightgbm-zipmap": lambda: lgbm(lightgbm.LGBMClassifier(n_estimators=20, verbose=-1), flowers, "classifier", zipmap=True),
    "lightgbm-two": lambda: lgbm(lightgbm.LGBMClassifier(n_estimators=20, verbose=-1), two, "classifier"),
    "lightgbm-regressor": lambda: lgbm(lightgbm.LGBMRegressor(n_estimators=20, verbose=-1), patients, "regressor", 1e-2),
}


def make(name):
    """Trains and converts one pipeline."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return CASES[name]()
