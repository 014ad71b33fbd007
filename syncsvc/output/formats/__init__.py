"""
One module per format of rows: terminal tables, CSV and JSON, Excel, Parquet.
"""
