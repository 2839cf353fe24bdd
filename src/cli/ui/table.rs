//! Tables as Go's `text/tabwriter` lays them out, which is what scripts that read Docker's columns expect.
//!
//! Each cell but a row's last is padded to its column's width: the longest cell and `padding`, and not less than `minimum`.

/// Rows of cells and how they are spaced.
#[derive(Debug)]
pub struct Table {
    minimum: usize,
    padding: usize,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// With a header line, spaced as `ps` and `volumes` do.
    pub fn new(header: &[&str]) -> Table {
        Table::spaced(10, 3, header)
    }

    /// With a header line; columns are at least `minimum` wide, of which `padding` are blank.
    pub fn spaced(minimum: usize, padding: usize, header: &[&str]) -> Table {
        Table { minimum, padding, rows: vec![header.iter().map(|cell| (*cell).to_owned()).collect()] }
    }

    /// One more row.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter(|row| column + 1 < row.len()).filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count() + self.padding).max().unwrap_or(0).max(self.minimum)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                if column + 1 == row.len() {
                    writeln!(out, "{cell}")?;
                } else {
                    write!(out, "{cell:<width$}")?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_longest_cell_and_the_last_is_not_padded() {
        let mut table = Table::new(&["NAME", "IMAGE", "PORTS"]);
        table.row(vec!["project-web-1".into(), "nginx".into(), "80/tcp".into()]);
        table.row(vec!["project-größe-1".into(), "a".into(), String::new()]);
        insta::assert_snapshot!(table.to_string().replace(' ', "."), @r"
        NAME..............IMAGE.....PORTS
        project-web-1.....nginx.....80/tcp
        project-größe-1...a.........
        ");
    }

    #[test]
    fn a_table_without_rows_still_has_its_header() {
        assert_eq!(Table::spaced(20, 3, &["NAME", "STATUS"]).to_string(), "NAME                STATUS\n");
    }
}
