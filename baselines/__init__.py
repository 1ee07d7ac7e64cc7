"""Classical vision: HOG and LBP features, SVM and XGBoost heads. Arrays in, arrays out; no file is read here."""
