import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;

/** What a JDBC tool such as DBeaver does when it connects and browses, a line an answer. */
public class Jdbc {
    public static void main(String[] arguments) throws SQLException {
        Properties properties = new Properties();
        properties.setProperty("user", "alice");
        properties.setProperty("extraCredentials", "token:" + arguments[1]);
        try (Connection connection = DriverManager.getConnection(arguments[0], properties)) {
            DatabaseMetaData metaData = connection.getMetaData();
            print("catalogs", metaData.getCatalogs(), "TABLE_CAT");
            print("schemas", metaData.getSchemas("lake", null), "TABLE_SCHEM");
            print("tables", metaData.getTables("lake", "raw", "%", new String[] {"TABLE"}), "TABLE_NAME", "TABLE_TYPE");
            print("columns", metaData.getColumns("lake", "raw", "transactions", "am%"),
                    "COLUMN_NAME", "TYPE_NAME", "DATA_TYPE", "COLUMN_SIZE", "DECIMAL_DIGITS", "IS_NULLABLE");
            print("types", metaData.getTableTypes(), "TABLE_TYPE");
            try (Statement statement = connection.createStatement()) {
                print("rows", statement.executeQuery(
                        "SELECT transaction_id, amount, email FROM transactions ORDER BY amount LIMIT 2"),
                        "transaction_id", "amount", "email");
                statement.execute("USE lake.information_schema");
                System.out.println("schema " + connection.getSchema());
                statement.execute("USE lake.raw");
                try {
                    statement.executeQuery("SELECT * FROM lake.curated.transactions");
                } catch (SQLException e) {
                    System.out.println("error " + e.getErrorCode());
                }
            }
            try (PreparedStatement statement = connection.prepareStatement(
                    "SELECT count(*) AS n FROM transactions WHERE country = ? AND amount > ?")) {
                statement.setString(1, "FR");
                statement.setBigDecimal(2, new java.math.BigDecimal("10.00"));
                ResultSet results = statement.executeQuery();
                ResultSetMetaData columns = results.getMetaData();
                System.out.println("column " + columns.getColumnName(1) + " " + columns.getColumnTypeName(1));
                print("prepared", results, "n");
            }
        }
    }

    private static void print(String title, ResultSet results, String... columns) throws SQLException {
        while (results.next()) {
            List<String> values = new ArrayList<>();
            for (String column : columns) {
                values.add(String.valueOf(results.getObject(column)));
            }
            System.out.println(title + " " + String.join("|", values));
        }
    }
}
