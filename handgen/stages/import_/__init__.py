"""Another project's data set becomes annotations."""
